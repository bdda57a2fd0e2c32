/* Sign-in: a token, or the one-time link that the server printed, in the address's fragment; the session's cookie comes
 * out. The fragment is taken out of the address bar and the history before anything else is done with it. */

import { enter, failure, field, fill, h, notice, signIn } from "./app.js";
import { loadSession } from "./client.js";

/** Draw the form; a link signs in at once. */
export function render(main, { query }) {
  const link = takeLink();
  const next = pathAfter(query);
  const trouble = h("div");
  const token = h("input", {
    type: "password",
    name: "token",
    autocomplete: "current-password",
    required: true,
    autofocus: true,
    spellcheck: "false",
  });
  const button = h("button", { type: "submit", class: "primary" }, "Sign in");
  const form = h(
    "form",
    { class: "card login" },
    h("h1", null, "Sign in to sfwebhooks"),
    trouble,
    field("Token", token, "The value of SFWEBHOOKS_WEB_TOKEN, or of SFWEBHOOKS_WEB_VIEWER_TOKEN to look only."),
    button,
    h(
      "p",
      { class: "help" },
      "Without a token, open the link that ",
      h("code", null, "sfwebhooks web"),
      " printed when it started. It works once, for 15 minutes.",
    ),
  );
  const attempt = async (given, wrong) => {
    button.disabled = true;
    try {
      await signIn(given);
      await enter(next);
    } catch (problem) {
      fill(trouble, problem.status === 401 ? notice("bad", wrong) : failure(problem));
      button.disabled = false;
      token.select();
    }
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void attempt({ token: token.value.trim() }, "This token is wrong.");
  });
  fill(main, form);
  token.focus();
  if (link) void enterByLink(link, attempt, next);
}

function takeLink() {
  const found = location.hash.startsWith("#link=") ? location.hash.slice("#link=".length) : "";
  if (found) history.replaceState(null, "", location.pathname + location.search);
  return found;
}

async function enterByLink(link, attempt, next) {
  // a link that was opened twice in one browser: its session is there already
  if (await loadSession().catch(() => false)) return enter(next);
  return attempt({ link }, "This link was used before, or is older than 15 minutes. Start sfwebhooks web again for a new one.");
}

/** Return where to go: a path of this page, never another address. */
function pathAfter(query) {
  const next = query.get("next") ?? "";
  const address = URL.canParse(next, location.origin) && new URL(next, location.origin);
  return next.startsWith("/") && address.origin === location.origin && !next.startsWith("/login") ? next : "/";
}
