/* What needs attention: the status comes in; a notice for each endpoint and scan in trouble goes out, with its reason, the
 * receiver's words and what to do. */

import { ago, amount, api, badge, empty, fill, h, icon, keyed, mayChange, toast, words } from "./app.js";
import { NEW_PATH } from "./webhooks.js";
import { stateReason } from "./words.js";

/** States of an endpoint that is probed at intervals, and may be sent to at once. */
const PROBED = new Set(["failing", "held"]);
/** Notices of endpoints; more of them are one notice. */
const NOTICES = 5;
/** Characters of a receiver's reply that are shown. */
const REPLY = 200;
/** Type of a scan's trouble -> [words, what to do]. */
const TROUBLES = {
  scan_missed: ["An expected scan was missed", "see why it was not started, and start it"],
  scan_overdue: ["A scan is overdue", "see in its log what it waits for; stop it if it hangs"],
  scan_thin: ["A scan found too little", "see whether its modules failed, and whether API keys and the network work"],
  modules_degraded: [
    "Modules work worse than before",
    "see their errors in the scan's log: API keys, quotas, the service",
  ],
};
const ELSEWHERE =
  "The settings have a mistake, or nothing looks for expected scans: sfwebhooks check and sfwebhooks status have the details.";

/** Return {element, draw(status)}. */
export function attentionList() {
  const element = h("div", { class: "stack", id: "attention" });
  const notices = new Map();
  const draw = (status) => {
    const items = itemsOf(status);
    element.hidden = !items.length;
    keyed(
      element,
      items,
      (item) => item.key,
      (item) => {
        const made = item.make();
        notices.set(item.key, made);
        made.draw(item.about);
        return made.element;
      },
      (_, item) => notices.get(item.key).draw(item.about),
    );
  };
  return { element, draw };
}

function itemsOf({ endpoints, watch, spool, needs_attention }) {
  const troubles = endpoints.filter((one) => one.needs_attention);
  const unwell = watch?.watch ?? [];
  const items = [
    ...troubles
      .slice(0, NOTICES)
      .map((one) => ({ key: `endpoint ${one.endpoint}`, about: one, make: () => endpointNotice(one) })),
    ...unwell.map((one) => ({ key: `scan ${one.type} ${one.about}`, about: one, make: scanNotice })),
  ];
  const more = troubles.slice(NOTICES);
  if (more.length) items.push({ key: "more", about: more, make: moreNotice });
  if (spool?.needs_attention) items.push({ key: "spool", about: spool, make: spoolNotice });
  if (!endpoints.length) items.push({ key: "none", about: null, make: noEndpoint });
  else if (needs_attention && !items.length) items.push({ key: "elsewhere", about: null, make: elsewhere });
  return items;
}

function endpointNotice({ endpoint }) {
  const text = h("div");
  const side = h("div", { class: "attention-side" });
  const element = h(
    "section",
    { class: "notice bad attention", "aria-label": `${endpoint} needs attention` },
    text,
    side,
  );
  let drawn = "";
  const draw = (one) => {
    const facts = [one.state, one.reason, one.since, one.what_to_do, one.next_probe_at, one.waiting, replyOf(one)];
    if (JSON.stringify(facts) === drawn) return;
    drawn = JSON.stringify(facts);
    fill(text, endpointText(one));
    if (!PROBED.has(one.state) || !mayChange()) fill(side);
    else if (!side.firstChild) fill(side, resumeButton(endpoint));
  };
  return { element, draw };
}

function endpointText(one) {
  const reply = replyOf(one);
  const reason = stateReason(one);
  const counts = one.waiting ? `${amount(one.waiting, "delivery", "deliveries")} waiting` : "nothing is waiting";
  return [
    h(
      "p",
      { class: "attention-title" },
      badge(one.state),
      endpointLink(one.endpoint),
      reason ? h("span", null, words(reason, one.endpoint)) : null,
    ),
    reply ? h("p", null, "The receiver said: ", h("q", null, reply)) : null,
    one.what_to_do ? h("p", null, h("strong", null, "What to do: "), words(one.what_to_do, one.endpoint)) : null,
    h(
      "p",
      { class: "muted small" },
      counts,
      one.since ? [" · began ", ago(one.since)] : null,
      one.next_probe_at ? [" · next probe ", ago(one.next_probe_at)] : null,
    ),
  ];
}

/** Return what the receiver last said, if it is about its present trouble. */
function replyOf(one) {
  const last = one.last_error;
  return PROBED.has(one.state) && last?.excerpt ? last.excerpt.slice(0, REPLY) : "";
}

function moreNotice() {
  const text = h("div");
  const draw = (more) => {
    const names = more.map((one, at) => [at ? ", " : "", endpointLink(one.endpoint)]);
    fill(text, h("p", null, h("strong", null, `${amount(more.length, "more endpoint")}: `), names));
  };
  return { element: h("section", { class: "notice bad attention" }, text), draw };
}

function endpointLink(name) {
  return h("a", { href: `/endpoints/${encodeURIComponent(name)}` }, name);
}

function resumeButton(name) {
  const button = h("button", { type: "button" }, icon("retry"), "Send now");
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      await api("POST", `/v1/webhooks/${encodeURIComponent(name)}/resume`);
      toast(`${name}: waiting deliveries are sent now.`);
    } catch (problem) {
      toast(`${name}: ${problem.title}${problem.detail ? `: ${problem.detail}` : ""}`, "bad");
    }
    button.disabled = false;
  });
  return button;
}

function scanNotice() {
  const text = h("div");
  const draw = (one) => {
    const [title, cure] = TROUBLES[one.type] ?? [String(one.type).replaceAll("_", " "), ""];
    fill(
      text,
      h(
        "p",
        { class: "attention-title" },
        badge("unknown", "scan"),
        h("strong", null, title),
        h("span", null, one.about),
      ),
      cure ? h("p", null, h("strong", null, "What to do: "), cure) : null,
      one.since ? h("p", { class: "muted small" }, "since ", ago(one.since)) : null,
    );
  };
  return { element: h("section", { class: "notice warn attention" }, text), draw };
}

function spoolNotice() {
  const text = h("div");
  const draw = (one) => {
    const cures = [
      one.waiting ? "see that PostgreSQL answers and that sfwebhooks run is running; sfwebhooks status has more" : "",
      one.set_aside ? "sfwebhooks spool list, on this machine, shows the events that are set aside" : "",
    ];
    const aside = one.set_aside ? `, ${amount(one.set_aside, "event")} set aside` : "";
    fill(
      text,
      h(
        "p",
        { class: "attention-title" },
        badge("unknown", "spool"),
        h("strong", null, `${amount(one.waiting, "event")} of this machine not forwarded${aside}`),
        one.trouble ? h("span", null, one.trouble) : null,
      ),
      h("p", null, h("strong", null, "What to do: "), words(cures.filter(Boolean).join("; "), "list")),
      one.oldest ? h("p", { class: "muted small" }, "the oldest since ", ago(one.oldest)) : null,
    );
  };
  return { element: h("section", { class: "notice warn attention" }, text), draw };
}

function noEndpoint() {
  const create = mayChange() ? h("a", { class: "button primary", href: NEW_PATH }, "Create an endpoint") : null;
  const about =
    "An endpoint receives the findings of your scans: a chat, a SIEM, a ticket system or a program of yours.";
  return {
    element: h("div", { class: "card" }, empty("Nothing is sent yet", h("p", null, about), create)),
    draw: () => {},
  };
}

function elsewhere() {
  return {
    element: h("section", { class: "notice warn attention" }, h("div", null, h("p", null, words(ELSEWHERE)))),
    draw: () => {},
  };
}
