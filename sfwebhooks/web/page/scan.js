/* One scan, live while it runs: its steps, what it found, what each endpoint was sent and not sent and why, the receipts of
 * its end, and what has changed since the scan before. */

import { ago, amount, api, badge, clock, delayed, duration, failure, fill, h, icon, live, moment, number, session, setTitle, table } from "./app.js";
import { readReasons, reasonList } from "./reasons.js";
import { receiptColumns } from "./receipts.js";
import { surfaceParts } from "./surface.js";
import { endpointPath } from "./webhooks.js";
import { part, redraw, secondsBetween, sum, tiles } from "./words.js";

/** Milliseconds between two readings while it runs. */
const PAUSE = 1_500;
const SEVERITIES = ["critical", "high", "medium", "low", "info"];
const STATES = ["delivered", "waiting", "dead"];
/** Steps that are shown before all are asked for: the first ones and the last ones. */
const [FIRST, LAST] = [4, 10];

/** Return the path of a scan's page. */
export function scanPath(id) {
  return `/scans/${encodeURIComponent(id)}`;
}

/** Return for how long a scan has been running, or ran. */
export function lengthOf(scan) {
  if (!scan.ended_at && scan.status !== "running") return "";
  return duration(secondsBetween(scan.began_at, scan.ended_at));
}

/** Draw a scan; returns what ends that. */
export async function renderScan(main, id) {
  const path = `/v1/scans/${encodeURIComponent(id)}`;
  const head = h("div");
  const figures = h("div");
  const timeline = part("Timeline");
  const endpoints = part("Deliveries by endpoint", { isTable: true });
  const withheld = part("Withheld");
  const receipts = part("Receipts", { isTable: true });
  const surface = part("What changed since the scan before");
  const severities = part("Findings by severity");
  let [scan, reasons] = await Promise.all([api("GET", path), readReasons()]);
  let drawn = "";
  let isOver = false;
  let hasAll = false;
  setTitle(scan.name || scan.target);

  fill(
    main,
    h("p", { class: "back" }, h("a", { href: "/scans" }, icon("back"), "Scans")),
    head,
    h("div", { class: "stack" }, figures, h("div", { class: "main-and-side" },
      h("div", { class: "stack" }, endpoints.element, withheld.element, receipts.element, surface.element),
      h("div", { class: "stack" }, severities.element, timeline.element))),
  );

  const shown = new Map();
  /** Draw a part if what it shows is something else now, so that what is open there stays so. */
  const show = (place, data, make) => {
    const text = JSON.stringify(data);
    if (shown.get(place) !== text) place.show(make());
    shown.set(place, text);
  };
  const draw = () => {
    redraw(head, headOf(scan));
    redraw(figures, figuresOf(scan));
    show(timeline, [scan.timeline, hasAll], () => timelineOf(scan, hasAll, () => {
      hasAll = true;
      draw();
    }));
    show(severities, scan.findings, () => severityBars(scan.findings));
    show(surface, [scan.surface, scan.status], () => surfaceParts(scan));
    show(endpoints, [scan.endpoints, scan.withheld], () => endpointTable(scan));
    show(withheld, scan.withheld, () => withheldOf(scan, reasons));
  };
  const read = async () => {
    const found = await api("GET", path);
    const hasEnded = found.ended_at && !scan.ended_at;
    const text = JSON.stringify(found);
    scan = found;
    if (isOver || (text === drawn && !hasEnded)) return;
    drawn = text;
    draw();
    if (hasEnded) await readReceipts();
  };
  const readReceipts = async () => {
    try {
      const found = await api("GET", `${path}/receipt`);
      if (!isOver) receipts.show(receiptTable(found, scan));
    } catch (problem) {
      if (!isOver) receipts.show(h("div", { class: "pad" }, failure(problem, readReceipts)));
    }
  };
  const readLater = delayed(() => read().catch((problem) => problem.status === undefined && console.error(problem)), PAUSE);
  draw();
  await readReceipts();
  const ends = [live("scans", ({ items }) => items.some((one) => one.scan === id) && readLater()), live("connected", readLater)];
  return () => {
    isOver = true;
    readLater.stop();
    ends.forEach((end) => end());
  };
}

function headOf(scan) {
  const link = session.ui_url ? h("a", { class: "button", href: `${session.ui_url.replace(/\/+$/, "")}/scaninfo?id=${encodeURIComponent(scan.scan)}`, target: "_blank", rel: "noopener noreferrer" }, "Open in SpiderFoot") : null;
  const about = [scan.target, scan.target_type?.toLowerCase().replaceAll("_", " "), scan.scan, scan.version && `SpiderFoot ${scan.version}`];
  return [
    h("div", { class: "page-head" }, h("div", { class: "title" }, h("h1", { tabindex: -1 }, scan.name || scan.target || scan.scan), badge(scan.status)), link),
    h("p", { class: "muted" }, about.filter(Boolean).join(" · ")),
  ];
}

function figuresOf(scan) {
  const { delivered = 0, waiting = 0, dead = 0 } = scan.deliveries ?? {};
  const query = `scan=${encodeURIComponent(scan.scan)}`;
  const link = (value, path) => (value ? h("a", { href: path }, number(value)) : "0");
  return tiles([
    ["Began", ago(scan.began_at), moment(scan.began_at)],
    [scan.status === "running" ? "Running for" : "Took", lengthOf(scan) || "unknown"],
    ["Findings", number(sum(scan.findings))],
    ["Delivered", link(delivered, `/deliveries?${query}&state=delivered`)],
    ["Waiting", link(waiting, `/deliveries?${query}&state=waiting`)],
    ["Dead letters", link(dead, `/dead?${query}`)],
  ]);
}

function timelineOf(scan, hasAll, showAll) {
  const steps = scan.timeline;
  if (!steps.length) return h("p", { class: "muted" }, "No step is stored: no endpoint asked for them, or they were deleted since (keep_delivered).");
  const left = hasAll ? 0 : Math.max(steps.length - FIRST - LAST, 0);
  const missing = scan.missing_steps ? h("p", { class: "muted small" }, `${amount(scan.missing_steps, "further step")}, which are not shown here.`) : null;
  const more = left > 1 ? h("li", { class: "left-out" }, h("button", { type: "button", onclick: showAll }, `Show ${number(left)} more`)) : null;
  const shown = more ? [...steps.slice(0, FIRST).map(stepOf), more, ...steps.slice(-LAST).map(stepOf)] : steps.map(stepOf);
  return [h("ol", { class: "timeline" }, shown), missing];
}

function stepOf(step) {
  const name = step.type.replaceAll("_", " ");
  const start = step.words.toLowerCase().startsWith(name) ? step.words.slice(name.length).replace(/^(?: \([a-z]+\))?(?:: )?/, "") : step.words;
  const severity = step.severity === "info" ? "" : `, ${step.severity}`;
  return h("li", { class: `of-${step.severity}` }, clock(step.at), h("div", null,
    h("div", null, h("span", { class: "step-type" }, name), h("span", { class: "muted" }, severity)),
    start ? h("div", { class: "muted small clamped", title: start }, start) : null));
}

function severityBars(findings) {
  const all = sum(findings);
  if (!all) return h("p", { class: "muted" }, "Nothing was found so far.");
  const most = Math.max(...Object.values(findings));
  return h("dl", { class: "bars" }, SEVERITIES.filter((one) => findings[one] !== undefined).map((severity) => {
    const bar = h("span", { class: `bar-fill of-${severity}` });
    bar.style.setProperty("--share", (findings[severity] ?? 0) / most);
    return h("div", null, h("dt", null, severity), h("dd", null, h("span", { class: "bar-track", "aria-hidden": "true" }, bar), h("span", { class: "number" }, number(findings[severity]))));
  }));
}

function endpointTable(scan) {
  const names = [...new Set([...Object.keys(scan.endpoints ?? {}), ...Object.keys(scan.withheld ?? {})])].sort();
  if (!names.length) return h("p", { class: "muted pad" }, "No delivery is stored: no endpoint asked for anything of this scan, or its deliveries were deleted since.");
  const cell = (name, state) => {
    const count = scan.endpoints[name]?.[state] ?? 0;
    const query = `scan=${encodeURIComponent(scan.scan)}&endpoint=${encodeURIComponent(name)}`;
    return count ? h("a", { href: state === "dead" ? `/dead?${query}` : `/deliveries?${query}&state=${state}` }, number(count)) : "0";
  };
  return table([
    { title: "Endpoint", wide: true, cell: (name) => h("a", { class: "name", href: endpointPath(name) }, name) },
    ...STATES.map((state) => ({ title: state[0].toUpperCase() + state.slice(1), number: true, cell: (name) => cell(name, state) })),
    { title: "Withheld", number: true, cell: (name) => number(sum(scan.withheld?.[name])) },
  ], names, { label: "Deliveries by endpoint" });
}

function withheldOf(scan, reasons) {
  const found = Object.entries(scan.withheld ?? {}).filter(([, counts]) => sum(counts));
  if (!found.length) return h("p", { class: "muted" }, "Nothing that an endpoint asked for was withheld from it.");
  return h("div", { class: "columns" }, found.map(([name, counts]) => h("div", null, h("h3", null, h("a", { href: endpointPath(name) }, name)), reasonList(counts, reasons))));
}

function receiptTable(receipts, scan) {
  const rows = Object.entries(receipts ?? {}).map(([name, receipt]) => ({ name, receipt }));
  if (!rows.length) {
    return h("p", { class: "muted pad" }, scan.ended_at
      ? "The closing event of this scan is no longer stored, or there was no endpoint."
      : "Not yet. The closing event has one for each endpoint: how many events were sent to it, and how many were not.");
  }
  return table([
    { title: "Endpoint", wide: true, cell: ({ name, receipt }) => [h("a", { class: "name", href: endpointPath(name) }, name), h("div", { class: "muted small" }, `series ${receipt.series}`)] },
    ...receiptColumns((row) => row.receipt),
  ], rows, { label: "Receipts" });
}
