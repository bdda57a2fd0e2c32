/* The dialog before dead letters are replayed or dropped: requests that select them come in; what would happen, as the
 * API's dry run counts it, is shown; what was done goes out in words, or nothing if it was not. */

import { amount, api, confirmDialog, dialog, duration, fill, h, notice, number, table, words } from "./app.js";
import { sentence } from "./delivery_words.js";

const RATES = [
  ["", "no limit but the endpoint's own"],
  ["10/s", "10 a second"],
  ["1/s", "1 a second"],
  ["10/m", "10 a minute"],
  ["1/m", "1 a minute"],
];
const LETTERS = "dead letter";
/** States of an endpoint in which nothing is sent to it now. */
const UNSENT = new Set(["off", "paused", "mistake", "failing", "held", "disabled", "removed"]);

/**
 * Ask, and do it.
 *
 * @param action replay or drop
 * @param selection {requests, number}: bodies of requests, and how many letters they were when they were chosen
 */
export async function confirmEffect(action, { requests, number: chosen }) {
  const effect = await effectOf(action, requests);
  const done = { number: 0 };
  const rate = action === "replay" ? rateChoice(effect.total) : null;
  const run = async () => {
    for (const request of requests) {
      const given = rate?.value ? { ...request, rate: rate.value } : request;
      const answer = await api("POST", `/v1/dead-letters/${action}`, { ...given, dry_run: false });
      done.number += answer.deliveries;
      requests = requests.filter((one) => one !== request); // after a problem, those that were done are not done again
    }
  };
  const title = action === "replay" ? `Replay ${amount(effect.total, LETTERS)}?` : `Drop ${amount(effect.total, LETTERS)} for good?`;
  const label = action === "replay" ? `Replay ${number(effect.total)}` : `Drop ${number(effect.total)}`;
  const body = [
    h("p", null, meaningOf(action)),
    effect.total ? effectTable(effect, action) : null,
    leftNotice(effect.left, chosen - effect.left - effect.total),
    rate?.element,
    action === "replay" && effect.isIdle ? notice("warn", h("p", null, words(sentence(effect.sending)))) : null,
  ];
  if (!effect.total) {
    const button = (close) => h("button", { type: "button", onclick: () => close(null) }, "Close");
    await dialog(`Nothing to ${action}`, (close) => ({ body: body.slice(2, 3), buttons: [button(close)] }));
    return "";
  }
  if (!(await confirmDialog({ title, body, action: { label, danger: action === "drop", run } }))) return "";
  const letters = amount(done.number, LETTERS);
  return action === "replay" ? `${letters} will be sent again.` : `${letters} dropped.`;
}

function meaningOf(action) {
  return action === "replay"
    ? "They become due again and are sent under the same ids, so that a receiver that had one already can ignore it."
    : "They are deleted from the outbox with their attempts. They cannot be replayed afterwards.";
}

/** Count what would happen, without doing it. */
async function effectOf(action, requests) {
  const asked = requests.map((request) => api("POST", `/v1/dead-letters/${action}`, { ...request, dry_run: true }));
  const [status, ...answers] = await Promise.all([api("GET", "/v1/status").catch(() => null), ...asked]);
  const counts = new Map();
  for (const { endpoints } of answers) {
    for (const [name, states] of Object.entries(endpoints)) {
      const sum = Object.values(states).reduce((one, other) => one + other, 0);
      counts.set(name, (counts.get(name) ?? 0) + sum);
    }
  }
  const known = new Map((status?.endpoints ?? []).map((one) => [one.endpoint, one]));
  const rows = [...counts].filter(([, count]) => count).map(([name, count]) => ({ name, count, status: known.get(name) }));
  const left = answers.reduce((sum, answer) => sum + (answer.left ?? 0), 0);
  const isIdle = status !== null && !status.senders.length;
  return { rows, left, isIdle, sending: status?.sending ?? "", total: rows.reduce((sum, row) => sum + row.count, 0) };
}

function effectTable({ rows }, action) {
  const columns = [
    { title: "Endpoint", cell: (row) => row.name },
    { title: "Dead letters", number: true, cell: (row) => number(row.count) },
  ];
  if (action === "replay") columns.push({ title: "Its state", cell: (row) => stateOf(row.status) });
  return h("div", { class: "effect", tabindex: 0 }, table(columns, rows, { label: "What will happen" }));
}

function stateOf(status) {
  if (!status) return "not in the settings, they wait";
  return UNSENT.has(status.state) ? `${status.state}, they wait` : status.state;
}

/** Say which of the selection are not among those. */
function leftNotice(left, gone) {
  const lines = [
    left > 0 && h("p", null, `${amount(left, LETTERS)} cannot be dropped yet, since the end of their scan is not reported.`),
    gone > 0 && h("p", null, `${amount(gone, LETTERS)} of the selection are gone, or waiting again.`),
  ].filter(Boolean);
  return lines.length ? notice("warn", lines) : null;
}

function rateChoice(total) {
  const select = h("select", null, RATES.map(([value, words]) => h("option", { value }, words)));
  select.id = "replay-rate";
  const lasts = h("p", { class: "help", role: "status" });
  const show = () => {
    const [count, unit] = select.value.split("/");
    const seconds = select.value && ((total - 1) / count) * (unit === "m" ? 60 : 1);
    fill(lasts, seconds ? `The last one is due in ${duration(seconds)}.` : "All of them are due at once.");
  };
  select.addEventListener("change", show);
  show();
  return {
    element: total > 1 ? h("div", { class: "field" }, h("label", { for: select.id }, "At most"), select, lasts) : null,
    get value() {
      return select.value;
    },
  };
}
