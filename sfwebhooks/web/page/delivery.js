/* One delivery: its state and what to do, its attempts, the request as sent, the replies, its look in the chat. */

import {
  amount, announce, api, badge, confirmDialog, delayed, duration, fill, go, h, icon, live, mayChange, moment, notice, number,
  pageHead, setTitle, toast, words,
} from "./app.js";
import { addressOf, dueWords, isTaken, sentence, severityMark } from "./delivery_words.js";
import { copyText, textBlock } from "./text_block.js";
import { reasonWords } from "./words.js";

/** Attempts that are shown at first. */
const ATTEMPTS = 50;
/** Characters of a finding above the rest. */
const FINDING = 300;
/** Milliseconds between two readings of a delivery that changes. */
const PACE = 1_000;
/** Delivery's state -> tone of its notice. */
const TONES = { delivered: "ok", waiting: "info", dead: "bad" };

/** The list that was left last: for the way back to it, and for the neighbours of a delivery. */
export const left = { address: "/deliveries", title: "Deliveries", listing: null, place: 0, scroll: 0, isBack: false };

/** Draw a delivery. */
export async function drawDelivery(main, id) {
  const path = `/v1/deliveries/${encodeURIComponent(id)}`;
  let shown = await api("GET", path);
  let isStopped = false;

  const places = {
    head: h("div"),
    state: h("div"),
    attempts: h("section", { class: "card", "aria-labelledby": "attempts-title" }),
    facts: h("section", { class: "card", "aria-labelledby": "facts-title" }),
  };
  const whole = h("div", { class: "stack" }, places.state, places.attempts, requestCard(shown), dataCard(shown));
  const side = h("div", { class: "stack" }, places.facts, previewCard(shown, path));
  fill(main, h("div", { class: "delivery" }, wayBack(shown), places.head, h("div", { class: "delivery-columns" }, whole, side)));
  setTitle(`${shown.name} to ${shown.endpoint}`);
  draw();

  function draw() {
    fill(places.head, head(shown, replay));
    fill(places.state, stateNotice(shown));
    fill(places.attempts, attemptsCard(shown));
    fill(places.facts, factsCard(shown));
  }

  async function read() {
    const before = shown;
    const found = await api("GET", path).catch(() => null); // the bar shows a lost connection; the next event reads again
    if (isStopped || !found) return;
    shown = found;
    if (JSON.stringify(before) === JSON.stringify(found)) return;
    const held = main.querySelector(".delivery .page-head")?.contains(document.activeElement);
    draw();
    if (held) main.querySelector("h1").focus();
    if (before.state !== found.state) announce(`This delivery is ${found.state} now`);
  }

  async function replay() {
    const to = h("strong", null, shown.endpoint);
    const body = [
      h("p", null, "The same event goes to ", to, " again, under the same id. A receiver that drops repeats by id ignores it if it had it before."),
      shown.why_endpoint ? notice("warn", words(shown.why_endpoint, shown.endpoint)) : null,
    ];
    const run = () => api("POST", `${path}/replay`);
    if (!(await confirmDialog({ title: "Replay it?", body, action: { label: "Replay", run } }))) return;
    toast("It will be sent again now.");
    await read();
  }

  function pressed(event) {
    if (isTaken(event)) return;
    const step = { j: 1, k: -1, Escape: 0 }[event.key];
    if (step === undefined) return;
    const at = left.listing?.place(shown.delivery);
    const next = step && at !== undefined ? left.listing.items[at + step] : null;
    if (step && !next) return;
    event.preventDefault();
    if (next) left.place = at + step;
    void go(next ? addressOf(next) : left.address, { replace: Boolean(next) });
  }

  const readLater = delayed(read, PACE);
  const unsubscribe = [
    live("attempts", ({ items }) => items.some((item) => item.delivery === shown.delivery) && readLater()),
    live("status", () => shown.state === "waiting" && readLater()),
    live("connected", readLater),
  ];
  document.addEventListener("keydown", pressed);
  return () => {
    isStopped = true;
    left.isBack = location.pathname + location.search === left.address;
    readLater.stop();
    unsubscribe.forEach((stop) => stop());
    document.removeEventListener("keydown", pressed);
  };
}

function wayBack(shown) {
  const at = left.listing?.place(shown.delivery);
  const step = (label, shape, item) => {
    const attributes = { class: "button plain", "aria-label": label, title: label };
    return item ? h("a", { ...attributes, href: addressOf(item) }, icon(shape)) : h("span", { class: "button plain off", "aria-hidden": "true" }, icon(shape));
  };
  return h(
    "nav",
    { class: "way-back", "aria-label": "List" },
    h("a", { href: left.address }, icon("back"), left.title),
    at === undefined ? null : [
      h("span", { class: "muted" }, `${number(at + 1)} of ${number(left.listing.items.length)}${left.listing.isWhole ? "" : "+"}`),
      h("span", { class: "neighbours" }, step("Previous (k)", "back", left.listing.items[at - 1]), step("Next (j)", "next", left.listing.items[at + 1])),
    ],
  );
}

function head(shown, replay) {
  const again = h("button", { type: "button", class: shown.state === "dead" ? "primary" : null, onclick: replay }, icon("retry"), "Replay");
  const made = pageHead(shown.name, mayChange() && shown.state !== "waiting" ? again : null);
  const marks = [badge(shown.state), severityMark(shown.severity)];
  const where = [
    h("span", null, "to ", h("a", { href: `/endpoints/${encodeURIComponent(shown.endpoint)}` }, shown.endpoint)),
    shown.target && h("span", null, "about ", h("strong", null, shown.target)),
  ];
  const text = shown.data?.data ?? shown.data?.title;
  const finding = typeof text === "string" && text ? h("p", { class: "delivery-finding" }, text.slice(0, FINDING)) : null;
  return [made, finding, h("p", { class: "delivery-marks" }, marks, where)];
}

/** Say in what state it is, why, and what to do. */
function stateNotice(shown) {
  const last = shown.log.at(-1);
  const lines = [];
  if (shown.state === "delivered") {
    const tries = shown.tries > 1 ? `, at attempt ${number(shown.tries)}` : "";
    lines.push(h("p", null, h("strong", null, "Delivered"), last ? ` with ${reasonWords(last.reason)} in ${duration(last.seconds)}${tries}` : "", ", ", moment(shown.settled_at)));
  } else {
    const reason = shown.reason || last?.reason || "";
    const state = shown.state === "dead" ? "Dead" : ["Waiting", shown.why_endpoint ? "" : dueWords(shown.due_at)].filter(Boolean).join(", ");
    lines.push(h("p", null, h("strong", null, state), reason ? `: ${reasonWords(reason)}` : ""));
    if (shown.meaning) lines.push(h("p", null, sentence(shown.meaning)));
    if (shown.why_waiting) lines.push(h("p", null, words(sentence(shown.why_waiting), shown.endpoint)));
  }
  if (shown.what_to_do) lines.push(h("p", null, h("strong", null, "What to do: "), words(shown.what_to_do, shown.endpoint)));
  const tone = shown.state === "waiting" && (shown.reason || last) ? "warn" : TONES[shown.state];
  return notice(tone, lines);
}

// --- attempts

function attemptsCard(shown) {
  const { log } = shown;
  const title = h("h2", { id: "attempts-title" }, log.length ? amount(log.length, "attempt") : "No attempts yet");
  const counted = shown.attempts !== log.length && log.length ? `${amount(shown.attempts, "retry", "retries")} used up` : "";
  const head = h("header", null, title, h("span", { class: "muted small" }, counted));
  if (!log.length) return [head, h("p", { class: "pad muted" }, "It has not been sent so far.")];
  const longest = log.reduce((most, one) => Math.max(most, one.seconds), 0.001);
  const first = Math.max(log.length - ATTEMPTS, 0);
  const rows = (from) => log.slice(from).map((one, at) => attemptRow(shown, from + at, longest));
  const list = h("ol", { class: "attempts", start: first + 1 }, rows(first));
  const all = first
    ? h("p", { class: "pad" }, h("button", { type: "button", onclick: () => { fill(list, rows(0)); all.remove(); list.start = 1; } }, `Show all ${number(log.length)}`))
    : null;
  return [head, all, list];
}

function attemptRow(shown, at, longest) {
  const one = shown.log[at];
  const before = shown.log[at - 1];
  const isLast = at === shown.log.length - 1;
  const isOk = /^http_2\d\d$/.test(one.reason) || (isLast && shown.state === "delivered");
  const filled = h("span", { class: "attempt-fill" });
  filled.style.width = `${Math.max((one.seconds / longest) * 100, 1)}%`;
  const gap = before ? Math.max((Date.parse(one.at) - Date.parse(before.at)) / 1000, 0) : 0;
  const status = h("span", { class: "attempt-status" }, icon(isOk ? "check" : "cross"), reasonWords(one.reason));
  const row = h(
    "div",
    { class: "attempt-row" },
    h("span", { class: "attempt-number", "aria-hidden": "true" }, number(at + 1)),
    status,
    h("span", { class: "attempt-bar", "aria-hidden": "true" }, filled),
    h("span", { class: "attempt-took" }, duration(one.seconds)),
    h("span", { class: "attempt-when" }, moment(one.at), h("span", { class: "muted" }, [
      before ? `${duration(gap)} later` : "",
      one.trigger && one.trigger !== "schedule" ? `by ${one.trigger}` : "",
    ].filter(Boolean).join(", "))),
  );
  const reply = one.excerpt
    ? h("details", { class: "attempt-reply", open: isLast }, h("summary", null, "Reply"), h("pre", { tabindex: 0 }, one.excerpt))
    : null;
  return h("li", { class: `attempt ${isOk ? "ok" : "bad"}` }, row, reply);
}

// --- request, data, preview, facts

function requestCard({ request, why_no_request: why, together }) {
  const title = h("h2", { id: "request-title" }, "Request");
  if (!request) {
    const none = h("p", { class: "pad muted" }, "It cannot be built: ", words(why), ".");
    return h("section", { class: "card", "aria-labelledby": "request-title" }, h("header", null, title), none);
  }
  const others = together ? `; its last one had ${amount(together, "other delivery", "other deliveries")} in it` : "";
  const line = h("p", { class: "mono request-line" }, h("strong", null, request.method), " ", request.place);
  const headers = h("dl", { class: "headers mono" }, request.headers.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));
  return h(
    "section",
    { class: "card", "aria-labelledby": "request-title" },
    h("header", null, title, h("span", { class: "muted small" }, `as it would be sent now, secrets masked${others}`)),
    h("div", { class: "pad stack" }, line, headers, textBlock("Body", request.body)),
  );
}

function dataCard({ data, explained: redacted }) {
  const title = h("h2", { id: "data-title" }, "Event data");
  const text = data ? JSON.stringify(data, null, 2) : "";
  return h(
    "section",
    { class: "card", "aria-labelledby": "data-title" },
    h("header", null, title, redacted ? h("span", { class: "muted small" }, `redacted: ${redacted}`) : null),
    h("div", { class: "pad" }, text ? textBlock("Data", text) : h("p", { class: "muted" }, "The stored data cannot be read: the outbox was changed by another program or is damaged.")),
  );
}

function previewCard(shown, path) {
  if (!shown.is_drawn) return null;
  const frame = h("div");
  const box = h("details", { class: "card preview" }, h("summary", null, h("h2", null, "Preview")), frame);
  box.addEventListener("toggle", () => {
    if (!box.open || frame.firstChild) return;
    // an empty sandbox: no script, no form, no origin; what it shows is made of text from outside
    frame.append(h("iframe", { sandbox: true, src: `${path}/preview`, title: "Preview of the message", loading: "lazy", referrerpolicy: "no-referrer" }));
  });
  box.open = true;
  return box;
}

function factsCard(shown) {
  const scan = shown.scan && h("a", { href: `/scans/${encodeURIComponent(shown.scan)}` }, shown.scan);
  const finding = shown.data && [shown.data.event_type, shown.data.module && `by ${shown.data.module}`].filter((one) => typeof one === "string").join(" ");
  const facts = [
    ["Finding", finding],
    ["Event", shown.name === shown.type ? "" : shown.type],
    ["Happened", moment(shown.at)],
    ["Accepted", moment(shown.accepted_at)],
    ["Next try", shown.state === "waiting" ? moment(shown.due_at) : ""],
    [shown.state === "dead" ? "Died" : "Delivered", shown.settled_at ? moment(shown.settled_at) : ""],
    ["Scan", scan],
    ["Number", shown.scan ? `${number(shown.sequence)} of this scan and endpoint` : ""],
    ["Series", shown.series],
    ["Replays", shown.replays ? number(shown.replays) : ""],
    ["Batch", shown.batch && copied(shown.batch)],
    ["Fingerprint", shown.fingerprint && copied(shown.fingerprint)],
    ["Delivery", copied(shown.delivery)],
    ["Event id", copied(shown.event)],
  ];
  const list = facts.filter(([, value]) => value).map(([name, value]) => [h("dt", null, name), h("dd", null, value)]);
  return [h("header", null, h("h2", { id: "facts-title" }, "Details")), h("dl", { class: "pairs pad" }, list)];
}

/** Return an id with a button that copies it. */
function copied(text) {
  return [h("span", { class: "mono" }, text), " ", h("button", { type: "button", class: "plain copy", "aria-label": `Copy ${text}`, title: "Copy", onclick: () => copyText(text) }, icon("copy"))];
}
