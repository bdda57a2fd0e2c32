/* The bar at the top: whether the page is live, dead letters, theme, keys, who is signed in. */

import { signOut, session } from "./client.js";
import { toast } from "./dialogs.js";
import { fill, h, icon, setText } from "./dom.js";
import { clock, number } from "./figures.js";
import { showKeys } from "./keys.js";
import { connection, live, reconnect } from "./live.js";

/** Milliseconds without a connection after which it is worth a banner. */
const PATIENCE = 2_000;
/** Largest number of dead letters that is shown; there is little room. */
const COUNT_MAX = 999;
/** State of the connection -> [tone, icon, words]. */
const CONNECTION = {
  live: ["ok", "check", "Live"],
  connecting: ["idle", "clock", "Connecting"],
  paused: ["idle", "pause", "Paused"],
  lost: ["bad", "alert", "Not live"],
  off: ["idle", "off", "Not live"],
};
/** Theme -> [icon, words, the next one]. */
const THEMES = {
  system: ["half", "Theme: as the system's", "light"],
  light: ["sun", "Theme: light", "dark"],
  dark: ["moon", "Theme: dark", "system"],
};

const pages = document.getElementById("pages");
const tools = document.getElementById("tools");
const banner = document.getElementById("banner");
const deadCount = document.getElementById("dead-count");
const signal = h("span", { class: "badge signal" });
let lostAt = 0;

/** Draw the bar for who is signed in. */
export function drawBar() {
  pages.hidden = false;
  const role = session.read_only ? `${session.role}, read-only` : session.role;
  const out = h(
    "button",
    { type: "button", class: "plain", title: "Sign out", "aria-label": "Sign out", onclick: leave },
    icon("out"),
  );
  fill(
    tools,
    signal,
    h("span", { class: "role", title: `sfwebhooks ${session.version}` }, role),
    themeButton(),
    keysButton(),
    out,
  );
  drawConnection();
}

/** Draw the bar for nobody. */
export function drawSignedOut() {
  pages.hidden = true;
  banner.hidden = true;
  fill(tools, themeButton());
}

/** Mark a page's link as the present one. */
export function markPage(section) {
  for (const link of pages.querySelectorAll("a")) {
    if (link.getAttribute("href") === `/${section}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function keysButton() {
  const label = "Keyboard shortcuts";
  return h(
    "button",
    { type: "button", class: "plain keys-button", title: label, "aria-label": label, onclick: showKeys },
    icon("keys"),
  );
}

function themeButton() {
  const button = h("button", { type: "button", class: "plain" });
  const root = document.documentElement;
  const show = () => {
    const [shape, words] = THEMES[root.dataset.theme ?? "system"];
    button.title = words;
    button.setAttribute("aria-label", words);
    fill(button, icon(shape));
  };
  button.addEventListener("click", () => {
    const next = THEMES[root.dataset.theme ?? "system"][2];
    if (next === "system") delete root.dataset.theme;
    else root.dataset.theme = next;
    try {
      localStorage.setItem("theme", next);
    } catch {
      // storage is blocked in this browser: the theme holds until the page is left
    }
    show();
  });
  show();
  return button;
}

async function leave() {
  try {
    await signOut();
  } catch (problem) {
    toast(`Not signed out: ${problem.title}`, "bad");
  }
}

function drawConnection() {
  const [tone, shape, words] = CONNECTION[connection.state];
  signal.className = `badge signal ${tone}`;
  fill(signal, icon(shape), h("span", null, words));
  lostAt = connection.state === "lost" ? lostAt || Date.now() : connection.state === "live" ? 0 : lostAt;
  drawBanner();
}

/** The server's words on what it cannot read; empty: nothing. */
let trouble = "";
const bannerWords = h("span");
const bannerRetry = h("span", { "aria-hidden": "true" });
const bannerButton = h("button", { type: "button", onclick: reconnect }, "Try now");

function drawBanner() {
  const isLost = Boolean(session.role && lostAt && Date.now() - lostAt >= PATIENCE);
  bannerButton.hidden = !isLost;
  if (!isLost && trouble) {
    setText(bannerWords, `What you see is old: ${trouble}.`);
    setText(bannerRetry, "");
  }
  if (isLost) {
    const since = connection.heardAt
      ? `what you see is from ${clock(new Date(connection.heardAt).toISOString()).textContent}`
      : "the server sends no events";
    setText(bannerWords, `Not live: ${since}.`);
    const left = Math.max(Math.ceil((connection.retryAt - Date.now()) / 1000), 0);
    setText(bannerRetry, connection.state === "lost" ? ` Next attempt in ${left} s.` : "");
  }
  const isShown = isLost || Boolean(trouble);
  if (isShown && banner.hidden) fill(banner, icon("alert"), h("span", null, bannerWords, bannerRetry), bannerButton);
  banner.hidden = !isShown;
}

function drawDead(status) {
  const dead = (status.endpoints ?? []).reduce((sum, endpoint) => sum + (endpoint.dead ?? 0), 0);
  deadCount.hidden = !dead;
  setText(deadCount, dead > COUNT_MAX ? `${COUNT_MAX}+` : number(dead));
  deadCount.title = number(dead);
}

live("connection", drawConnection);
live("status", (status) => {
  trouble = "";
  drawDead(status);
  drawBanner();
});
live("problem", ({ detail }) => {
  trouble = detail ?? "the outbox cannot be read";
  drawBanner();
});
setInterval(() => lostAt && drawBanner(), 1000);
