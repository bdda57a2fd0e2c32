/* The latest attempts as they happen. */

import { api, badge, batched, clock, duration, empty, fill, h, icon, keyed, live, number } from "./app.js";
import { isDelivered } from "./meter.js";
import { reasonWords } from "./words.js";

/** Attempts that are shown. */
const SHOWN = 12;

/** Return {element, load(), end()}. */
export function attemptFeed() {
  const list = h("ul", { class: "rows feed", id: "attempts" });
  const nothing = h(
    "div",
    { hidden: true },
    empty("No attempt yet", h("p", null, "Each attempt to deliver an event is shown here when it is made.")),
  );
  const missed = h("p", { class: "muted small pad-row", hidden: true });
  const button = h("button", { type: "button", class: "small-button", "aria-pressed": "false" });
  const element = h(
    "section",
    { class: "card", "aria-labelledby": "attempts-title" },
    h("header", null, h("h2", { id: "attempts-title" }, "Latest attempts"), button),
    missed,
    list,
    nothing,
  );
  let shown = [];
  let left = 0;
  let isPaused = false;
  const draw = batched(() => {
    if (isPaused) return;
    keyed(list, shown, attemptKey, attemptRow);
    nothing.hidden = Boolean(shown.length);
    missed.hidden = !left;
    missed.textContent = `${number(left)} more were made in the same second than are shown.`;
  });
  const label = () => fill(button, icon(isPaused ? "next" : "pause"), isPaused ? "Go on" : "Pause");
  button.addEventListener("click", () => {
    isPaused = !isPaused;
    button.setAttribute("aria-pressed", String(isPaused));
    label();
    draw();
  });
  label();
  const end = live("attempts", ({ items, missed: more }) => {
    left = more ?? 0;
    shown = newest([...items, ...shown]);
    draw();
  });
  const load = async () => {
    const { items } = await api("GET", `/v1/deliveries?limit=${SHOWN}`);
    const found = items.filter((item) => item.last_attempt).map((item) => ({ ...item, attempt: item.last_attempt }));
    shown = newest([...shown, ...found]);
    draw();
  };
  return { element, load, end };
}

function attemptKey(item) {
  return `${item.delivery} ${item.attempt.at}`;
}

/** Return the newest attempts, each once. */
function newest(items) {
  const known = new Map(items.map((item) => [attemptKey(item), item]));
  return [...known.values()].sort((one, other) => (one.attempt.at < other.attempt.at ? 1 : -1)).slice(0, SHOWN);
}

function attemptRow(item) {
  const { attempt } = item;
  const state = isDelivered(item)
    ? badge("delivered")
    : badge(item.state === "dead" ? "dead" : "refused", resultOf(item));
  return h(
    "li",
    null,
    h(
      "div",
      { class: "feed-line" },
      h("a", { href: `/deliveries/${encodeURIComponent(item.delivery)}` }, item.name ?? item.type),
      state,
    ),
    h(
      "div",
      { class: "feed-line muted small" },
      h("span", { class: "cut" }, item.endpoint, item.target ? ` · ${item.target}` : null),
      h("span", { class: "nowrap number" }, duration(attempt.seconds), " · ", clock(attempt.at)),
    ),
  );
}

/** Return why an attempt failed: the state of the delivery comes first, since a dead one is not tried again. */
function resultOf({ state, attempt }) {
  return `${state === "dead" ? "dead: " : ""}${reasonWords(attempt.reason)}`;
}
