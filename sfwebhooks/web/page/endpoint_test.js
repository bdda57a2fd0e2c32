/* The result of a test as the API returns it: each step with what it found and its share of the time, then the verdict. */

import { amount, api, duration, failure, fill, h, mayChange, momentText, notice, words } from "./app.js";
import { webhookPath } from "./webhooks.js";
import { part, reasonWords } from "./words.js";

const LISTED_MAX = 4;
/** request -> the heading above its steps; a message's own steps need none */
const REQUESTS = {
  token: "Token", handshake: "Does the receiver allow our messages?", confirmation: "Does the receiver have it for good?",
};
/** step -> its name */
const NAMES = {
  prepare: "Prepare", resolve: "Resolve", connect: "Connect", proxy: "Proxy", TLS: "TLS", certificate: "Certificate",
  send: "Send", wait: "Wait", read: "Read", token: "Token",
};

function listed(texts) {
  const more = texts.length - LISTED_MAX;
  return texts.slice(0, LISTED_MAX).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

function resolved(step) {
  const found = [...(step.addresses || []), ...Object.keys(step.refused || {})];
  const lines = [found.length === 1 && found[0] === step.host ? `${step.host}, an address` : `${step.host} is ${listed(found)}`];
  for (const [address, why] of Object.entries(step.refused || {})) lines.push(`not tried: ${address} (${why})`);
  return lines;
}

function connected(step) {
  const through = step.proxy ? `: the proxy ${step.proxy}` : "";
  const lines = [`${step.address} port ${step.port}, from ${step.source}${through}`, ...unreached(step)];
  if (step.silent?.length) lines.push(`no answer so far from ${listed(step.silent)}`);
  return lines;
}

const unreached = (step) => Object.entries(step.unreached || {}).map(([address, why]) => `${address}: ${why}`);

function secured(step) {
  const lines = step.version ? [`${step.version}, ${step.cipher}${step.proxy ? " with the proxy" : ""}`] : [];
  return [...lines, ...theirs(step), ...ours(step)];
}

function theirs(step) {
  if (!step.theirs) return [];
  const { subject, names, issuer, begins_at: begins, ends_at: ends } = step.theirs;
  const now = Date.now();
  const validity = now < new Date(begins) ? `not valid before ${momentText(begins)}`
    : now > new Date(ends) ? `expired on ${momentText(ends)}`
      : `valid until ${momentText(ends)}, ${amount(Math.floor((new Date(ends) - now) / 86400000), "day")} left`;
  const verified = !step.verified ? "not verified"
    : step.verified_by ? `verified by ${step.verified_by.subject}` : "verified";
  return [
    `${subject || "a certificate without a subject"}${names?.length ? `, for ${listed(names)}` : ""}`,
    validity,
    `issued by ${issuer || "a CA without a name"}; ${verified}`,
  ];
}

function ours(step) {
  if (step.ours) return [`ours: ${step.ours.subject}, valid until ${momentText(step.ours.ends_at)}; asked for and sent`];
  return step.asked_for_ours ? ["our certificate was asked for, but not sent"] : [];
}

/** step -> what it found, as lines */
const FOUND = {
  prepare: () => ["the message is written and signed"],
  resolve: resolved,
  connect: connected,
  proxy: (step) => [`connected to ${step.host} port ${step.port}`],
  TLS: secured,
  certificate: ours,
  send: (step) => [amount(step.size, "byte")],
  wait: () => ["for the reply"],
  read: (step) => [`${amount(step.size, "byte")}, status ${step.status}`],
  token: (step) => [`can be used for ${duration(step.valid_seconds)}`],
};

function linesOf(step, result) {
  if (!step.failed) return FOUND[step.step]?.(step) || [];
  const why = result.status === null && result.reply ? `${reasonWords(result.reason)}: ${result.reply}` : reasonWords(result.reason);
  return [`failed: ${why}`, ...unreached(step), ...theirs(step), ...ours(step)];
}

function row(step, result, from, all) {
  const bar = h("span", { class: "share", "aria-hidden": "true" });
  bar.style.setProperty("--from", all ? from / all : 0);
  bar.style.setProperty("--share", all ? (step.seconds || 0) / all : 0);
  const [first, ...others] = linesOf(step, result);
  return h("li", { class: step.failed ? "step failed" : "step" },
    h("span", { class: "name" }, NAMES[step.step] || step.step),
    h("span", { class: "spent" }, step.seconds === undefined ? "" : duration(step.seconds)),
    h("span", { class: "track" }, bar),
    h("div", { class: "found" }, h("div", null, first || ""), ...others.map((line) => h("div", { class: "more" }, line))));
}

function stepList(result) {
  const all = result.steps.reduce((seconds, step) => seconds + (step.seconds || 0), 0);
  let from = 0;
  let request = "message";
  const rows = [];
  for (const step of result.steps) {
    if (step.request !== request && REQUESTS[step.request]) rows.push(h("li", { class: "of" }, REQUESTS[step.request]));
    request = step.request;
    rows.push(row(step, result, from, all));
    from += step.seconds || 0;
  }
  return h("ol", { class: "steps" }, rows);
}

/** Return the part of a page that sends a test and shows its result. */
export function testPart(name) {
  const { element, show, body } = part("Test");
  const about = h("p", { class: "muted" }, "A test message is sent to the receiver at once, before all waiting deliveries. It is stored nowhere.");
  if (!mayChange()) {
    show(h("p", { class: "muted" }, "An operator can send a test message here."));
    return { element };
  }
  const type = h("select", { id: "test-event" }, h("option", { value: "" }, "a test alert"));
  const button = h("button", { type: "submit", class: "primary" }, "Send test");
  const result = h("div", { class: "test-place", "aria-live": "polite" });
  const form = h("form", { class: "inline-form" }, h("div", { class: "field" }, h("label", { for: "test-event" }, "Message"), type), button);
  api("GET", "/v1/events").then(
    ({ items }) => type.append(...items.map((one) => h("option", { value: one.name }, `example of ${one.name}`))),
    () => {}, // the test alert can still be sent
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void send();
  });
  show(about, form, result);

  async function send() {
    button.disabled = true;
    button.setAttribute("aria-busy", "true");
    fill(result, h("p", { class: "muted" }, "Sending…"));
    try {
      fill(result, testResult(await api("POST", webhookPath(name, "/test"), type.value ? { event: type.value } : {})));
    } catch (problem) {
      fill(result, failure(problem));
    } finally {
      button.disabled = false;
      button.removeAttribute("aria-busy");
    }
  }
  return { element, body };
}

/** Return the nodes that show a test's result. */
function testResult(result) {
  if (result.mistake) {
    return notice("bad", h("p", null, h("strong", null, "Not sent. "), `Its settings have a mistake: ${result.mistake}`));
  }
  const isWell = (result.delivered || result.pending) && result.allowed !== false;
  const verdict = result.pending ? "Accepted, not confirmed yet" : result.delivered ? "Delivered" : "Not delivered";
  const reply = result.status !== null && result.reply;
  return [
    notice(isWell ? "ok" : "bad",
      h("p", null, h("strong", null, verdict), ` in ${duration(result.seconds)}: ${reasonWords(result.reason)}`),
      result.verdict ? h("p", null, "If this was not a test: ", words(result.verdict), ".") : null,
      result.allowed === false ? h("p", null, `The receiver allows none of our messages: ${result.handshake}`) : null,
      result.cure ? h("p", null, h("strong", null, "What to do: "), words(result.cure)) : null,
      result.paused ? h("p", null, `The endpoint is ${result.paused}; the test was sent anyway.`) : null),
    stepList(result),
    reply ? h("div", { class: "reply" }, h("h3", null, "Reply"), h("pre", { tabindex: "0" }, result.reply)) : null,
  ];
}
