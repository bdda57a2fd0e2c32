/* Each endpoint's health and rate, as a table whose rows stay while their figures change. */

import { ago, amount, badge, duration, empty, fill, h, keyed, number, setText, svg, words } from "./app.js";
import { lastMinute, slots } from "./meter.js";

/** Size of the drawing of five minutes, in its own units: a slot is 2 wide. */
const [WIDTH, HEIGHT] = [120, 22];
const COLUMNS = [
  ["Endpoint", ""],
  ["State", ""],
  ["Last minute", "number"],
  ["Five minutes", ""],
  ["Waiting", "number"],
  ["Delivered, 24 h", "number"],
  ["Failed, 24 h", "number"],
  ["Dead", "number"],
  ["Time to deliver", "number"],
  ["Last success", "number"],
];

/** Return {element, draw(status, figures), pulse()}. */
export function healthTable() {
  const heads = COLUMNS.map(([title, kind]) =>
    h("th", { scope: "col", role: "columnheader", class: kind || null }, title),
  );
  const body = h("tbody", { role: "rowgroup" });
  const table = h(
    "table",
    { role: "table", "aria-label": "Health and rate of each endpoint", class: "health" },
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads)),
    body,
  );
  const nothing = h("div", { hidden: true }, empty("No endpoint yet"));
  const element = h(
    "section",
    { class: "card", "aria-labelledby": "health-title" },
    h("header", null, h("h2", { id: "health-title" }, "Endpoints"), h("a", { href: "/endpoints" }, "All settings")),
    table,
    nothing,
  );
  const rows = new Map();
  const draw = ({ endpoints }, figures) => {
    table.hidden = !endpoints.length;
    nothing.hidden = Boolean(endpoints.length);
    const create = (one) => {
      const row = healthRow(one.endpoint);
      rows.set(one.endpoint, row);
      row.draw(one, figures.get(one.endpoint));
      return row.element;
    };
    keyed(
      body,
      endpoints,
      (one) => one.endpoint,
      create,
      (_, one) => rows.get(one.endpoint).draw(one, figures.get(one.endpoint)),
    );
  };
  return { element, draw, pulse: () => rows.forEach((row) => row.element.isConnected && row.pulse()) };
}

function healthRow(name) {
  const cells = COLUMNS.map(() => h("div"));
  const [endpoint, state, minute, five, waiting, delivered, failed, dead, latency, success] = cells;
  const place = h("div", { class: "muted small place" });
  const why = h("div", { class: "muted small why" });
  fill(endpoint, h("a", { href: `/endpoints/${encodeURIComponent(name)}` }, name), place);
  const lines = { failed: svg("path", { class: "spark-bad" }), delivered: svg("path", { class: "spark-ok" }) };
  fill(
    five,
    svg(
      "svg",
      { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true", preserveAspectRatio: "none" },
      lines.failed,
      lines.delivered,
    ),
  );
  const element = h(
    "tr",
    { role: "row" },
    COLUMNS.map(([title, kind], at) =>
      h(
        at ? "td" : "th",
        { role: at ? "cell" : "rowheader", scope: at ? null : "row", class: kind || null, "data-title": title },
        cells[at],
      ),
    ),
  );
  let shown = "";
  const draw = (one, figures) => {
    setText(place, one.to ?? "");
    const because = whyOf(one);
    if (shown !== `${one.state} ${because}`) {
      shown = `${one.state} ${because}`;
      fill(state, badge(one.state), why);
      fill(why, words(because, name));
      why.hidden = !because;
    }
    fill(
      waiting,
      number(one.waiting ?? 0),
      one.oldest_accepted_at ? h("div", { class: "muted small" }, ago(one.oldest_accepted_at)) : null,
    );
    fill(dead, one.dead ? h("a", { href: `/dead?endpoint=${encodeURIComponent(name)}` }, number(one.dead)) : "0");
    fill(success, one.last_success_at ? ago(one.last_success_at) : h("span", { class: "muted" }, "never"));
    setText(delivered, figures ? number(Math.round(figures.delivered)) : "");
    setText(failed, figures ? number(Math.round(figures.failed)) : "");
    drawLatency(latency, figures?.latency_seconds);
    pulse();
  };
  const pulse = () => {
    const { delivered: sent, failed: lost, roughly } = lastMinute(name);
    setText(minute, `${roughly ? "about " : ""}${number(sent)}${lost ? `, ${number(lost)} failed` : ""}`);
    drawSpark(lines, slots(name));
  };
  return { element, draw, pulse };
}

/** Return why an endpoint's deliveries are waiting, or why it is not ready, if the state does not say so. */
function whyOf(one) {
  if (one.needs_attention) return ""; // the notice above has it
  if (one.waiting && one.why && one.waits_for !== "sending") return one.why.replace(/[;\s]+$/, "");
  if (one.state !== "ready" && one.reason) return one.reason;
  return one.refused ? `${amount(one.refused, "delivery", "deliveries")} refused` : "";
}

function drawLatency(place, latency) {
  const text = latency?.p50 === null || latency?.p50 === undefined ? "" : duration(latency.p50);
  fill(
    place,
    text,
    text && latency.p95 !== null ? h("div", { class: "muted small" }, "95 %: ", duration(latency.p95)) : null,
  );
}

function drawSpark(lines, { delivered, failed }) {
  const highest = Math.max(4, ...delivered.map((count, at) => count + failed[at]));
  const paths = { delivered: "", failed: "" };
  for (const [at, count] of delivered.entries()) {
    const top = HEIGHT - (count / highest) * HEIGHT;
    if (count) paths.delivered += `M${at * 2 + 1} ${HEIGHT}V${top.toFixed(1)}`;
    if (failed[at])
      paths.failed += `M${at * 2 + 1} ${top.toFixed(1)}V${(top - (failed[at] / highest) * HEIGHT).toFixed(1)}`;
  }
  for (const [name, path] of Object.entries(paths)) {
    if (lines[name].getAttribute("d") !== path) lines[name].setAttribute("d", path);
  }
}
