/* The page's shell: a path comes in, a page module is loaded and drawn into <main>. The other modules import what they
 * need from here. */

import { connect, disconnect } from "./live.js";
import { loadSession, onSessionEnd, session } from "./client.js";
import { empty, failure, fill, h } from "./dom.js";
import { drawBar, drawSignedOut, markPage } from "./bar.js";
import { listenForKeys } from "./keys.js";

export { ApiProblem, api, mayChange, request, session, signIn, signOut } from "./client.js";
export {
  badge,
  batched,
  delayed,
  empty,
  failure,
  field,
  fill,
  h,
  icon,
  keyed,
  notice,
  pageHead,
  setText,
  svg,
  table,
  tableRow,
} from "./dom.js";
export { ago, agoText, amount, clock, duration, moment, momentText, number, words } from "./figures.js";
export { connection, live, reconnect } from "./live.js";
export { announce, confirmDialog, dialog, toast } from "./dialogs.js";

/** First part of a path -> [module, title]. */
const PAGES = {
  "": ["overview", "Overview"],
  deliveries: ["deliveries", "Deliveries"],
  dead: ["dead", "Dead letters"],
  endpoints: ["endpoint", "Endpoints"],
  scans: ["scans", "Scans"],
  login: ["login", "Sign in"],
};

const main = document.getElementById("main");
let cleanup = null;
/** Number of the page that is drawn: one that took longer to load than the next one is not drawn. */
let turn = 0;

/** Open a path of the page; `replace` puts it in the place of the present one in the history. */
export function go(path, { replace = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", path);
  return draw({ focus: true });
}

/** Put a filter into the address bar, for links and reloads, without drawing the page again. */
export function setQuery(values) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) if (value) query.set(name, value);
  const text = query.toString();
  history.replaceState(null, "", text ? `${location.pathname}?${text}` : location.pathname);
}

/** Set the title of the tab. */
export function setTitle(title) {
  document.title = title ? `${title} · sfwebhooks` : "sfwebhooks";
}

function route() {
  const [section, ...rest] = location.pathname.slice(1).split("/");
  const found = Object.hasOwn(PAGES, section) ? PAGES[section] : null;
  if (!found || rest.length > 1) return null;
  try {
    return { section, file: found[0], title: found[1], id: decodeURIComponent(rest[0] ?? "") };
  } catch {
    return null; // a broken escape in the address
  }
}

async function draw({ focus = false } = {}) {
  const own = ++turn;
  const found = route();
  if (found?.section !== "login" && !session.role) return signInFirst();
  const last = cleanup;
  cleanup = null;
  last?.();
  markPage(found?.section);
  setTitle(found?.title);
  main.className = found ? `page-${found.file}` : "";
  fill(main);
  if (!found)
    return fill(
      main,
      h("h1", null, "No such page"),
      empty("This address is not one of this page.", h("a", { href: "/" }, "Overview")),
    );
  main.setAttribute("aria-busy", "true");
  try {
    const module = await import(`./${found.file}.js`);
    if (own !== turn) return;
    const made = await module.render(main, { id: found.id, query: new URLSearchParams(location.search) });
    if (own === turn) cleanup = made;
    else made?.();
  } catch (problem) {
    if (own === turn) drawFailure(problem);
  } finally {
    if (own === turn) main.removeAttribute("aria-busy");
  }
  if (own === turn && focus) focusPage();
}

function drawFailure(problem) {
  if (problem?.status === undefined) console.error(problem);
  if (problem?.status === 401) return;
  fill(
    main,
    h("h1", { tabindex: -1 }, "This page cannot be shown"),
    failure(problem, () => draw({ focus: true })),
  );
}

function focusPage() {
  (main.querySelector("[autofocus]") ?? main.querySelector("h1") ?? main).focus({ preventScroll: true });
  scrollTo(0, 0);
}

function signInFirst() {
  const here = location.pathname + location.search;
  const path = here === "/" || here.startsWith("/login") ? "/login" : `/login?next=${encodeURIComponent(here)}`;
  return go(path, { replace: true });
}

/** Show the page for who has just signed in. */
export function enter(path) {
  drawBar();
  connect();
  return go(path, { replace: true });
}

onSessionEnd(() => {
  disconnect();
  drawSignedOut();
  if (!location.pathname.startsWith("/login")) void signInFirst();
});

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  const isOurs = link && link.origin === location.origin && !link.target && !link.hasAttribute("download");
  if (!isOurs || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  if (event.defaultPrevented || link.pathname.startsWith("/v1/") || link.pathname.startsWith("/page/")) return;
  event.preventDefault();
  if (link.hash === "#main") main.focus();
  else void go(link.pathname + link.search);
});
addEventListener("popstate", () => draw({ focus: true }));
listenForKeys(go);

async function start() {
  try {
    if (!location.hash.startsWith("#link=") && (await loadSession())) {
      drawBar();
      connect();
      if (location.pathname === "/login") return go("/", { replace: true });
    }
  } catch (problem) {
    return drawFailure(problem);
  }
  if (!session.role) drawSignedOut();
  return draw();
}

void start();
