/* Past scans at one endpoint: what a backfill of one would send to it now, and the receipts of the last ones. */

import { ago, amount, api, duration, failure, fill, h, notice, number, table } from "./app.js";
import { readReasons, reasonList } from "./reasons.js";
import { receiptColumns } from "./receipts.js";
import { scanPath } from "./scan.js";
import { webhookPath } from "./webhooks.js";
import { countList, facts, part, sum } from "./words.js";

/** Scans to choose from, and those whose receipts are shown. */
const SCANS = 50;
const RECEIPTS = 5;

/** Return {elements, begin, end}: the two parts; `begin` reads what they show. */
export function pastParts(name) {
  const route = part("Route of a past scan");
  const receipts = part("Receipts", { isTable: true });
  let isOver = false;

  async function begin() {
    let scans;
    try {
      scans = (await api("GET", `/v1/scans?limit=${SCANS}`)).items;
    } catch (problem) {
      for (const one of [route, receipts]) one.show(h("div", { class: "pad" }, failure(problem, begin)));
      return;
    }
    if (isOver) return;
    route.show(routeForm(name, scans));
    await showReceipts(scans.filter((scan) => scan.ended_at).slice(0, RECEIPTS));
  }

  async function showReceipts(scans) {
    const found = await Promise.all(scans.map((scan) => api("GET", `/v1/scans/${encodeURIComponent(scan.scan)}/receipt`).then((all) => all[name], () => null)));
    const rows = scans.map((scan, at) => ({ scan, receipt: found[at] })).filter((row) => row.receipt);
    if (isOver) return;
    receipts.show(rows.length
      ? table(RECEIPT_COLUMNS, rows, { label: "Receipts" })
      : h("p", { class: "muted pad" }, "No receipts yet. The closing event of each scan has one: how many events were sent to this endpoint, and how many were not."));
  }

  return { elements: [route.element, receipts.element], begin, end: () => { isOver = true; } };
}

function scanLink(scan) {
  return h("a", { class: "name", href: scanPath(scan.scan) }, scan.name || scan.target || scan.scan);
}

const RECEIPT_COLUMNS = [
  { title: "Scan", wide: true, cell: ({ scan }) => [scanLink(scan), h("div", { class: "muted small" }, [scan.target, scan.scan].join(" · "))] },
  { title: "Ended", cell: ({ scan }) => ago(scan.ended_at) },
  ...receiptColumns((row) => row.receipt),
];

function routeForm(name, scans) {
  if (!scans.length) return h("p", { class: "muted" }, "There is no scan yet. Once one has ended, this shows what a backfill of it would send to this endpoint.");
  const select = h("select", { id: "route-scan" }, scans.map((scan) => h("option", { value: scan.scan }, `${scan.name || scan.scan} (${scan.target}), ${scan.status}`)));
  const result = h("div", { class: "route-result", "aria-live": "polite" });
  const button = h("button", { type: "submit" }, "Show route");
  const form = h("form", { class: "inline-form" }, h("div", { class: "field" }, h("label", { for: "route-scan" }, "Scan"), select), button);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.setAttribute("aria-busy", "true");
    button.disabled = true;
    try {
      const path = webhookPath(name, `/route?scan=${encodeURIComponent(select.value)}`);
      const [route, reasons] = await Promise.all([api("GET", path), readReasons()]);
      fill(result, routeResult(route, name, reasons));
    } catch (problem) {
      fill(result, failure(problem));
    } finally {
      button.disabled = false;
      button.removeAttribute("aria-busy");
    }
  });
  return [h("p", { class: "muted" }, "What a backfill of the scan would send to this endpoint now. Nothing is sent or written."), form, result];
}

function routeResult(route, name, reasons) {
  const again = route.deleted ? " --again" : "";
  const command = route.deliveries ? h("code", null, `sfwebhooks backfill ${route.scan} --endpoint ${name}${again}`) : "";
  const sent = route.deliveries
    ? [h("strong", null, amount(route.deliveries, "delivery", "deliveries")), ` in ${amount(route.messages, "message")}`, route.seconds >= 1 ? `, about ${duration(route.seconds)}` : ""]
    : h("strong", null, "Nothing would be sent");
  return [
    h("p", null, sent),
    facts([
      ["Sent", sum(route.names) ? countList(route.names) : ""],
      ["Withheld", sum(route.withheld) ? reasonList(route.withheld, reasons) : ""],
      ["Redacted", sum(route.redacted) ? countList(route.redacted, (rule) => `by ${rule}`) : ""],
      ["Has", route.has ? `${number(route.has)} of this scan already, which are not sent again` : ""],
      ["Deleted", route.deleted ? `${number(route.deleted)} that it had: a backfill requires --again, and sends all again` : ""],
      ["To send it", command],
    ]),
    route.mistake ? notice("bad", h("p", null, `${route.mistake}: they would wait`)) : null,
  ];
}
