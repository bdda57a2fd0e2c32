/* What changed since the scan before, as surface_changed has it: what is new, gone and changed, the most severe first. */

import { badge, h, moment, number } from "./app.js";
import { countList } from "./words.js";

/** Return the nodes for a scan's comparison with the one before. */
export function surfaceParts(scan) {
  const { surface } = scan;
  if (!surface) {
    return h("p", { class: "muted" }, scan.ended_at || scan.status !== "running"
      ? "This scan was not compared with an earlier one, or the comparison is no longer stored."
      : "It is compared with the scan before once it has ended.");
  }
  const before = surface.compared_with ? h("p", { class: "muted small" }, "Compared with ", h("a", { href: `/scans/${encodeURIComponent(surface.compared_with.scan_id)}` }, surface.compared_with.scan_id), ", which ended ", moment(surface.compared_with.ended)) : null;
  const failed = surface.modules_failed?.length ? h("p", { class: "muted small" }, `Modules with an error, whose findings may be missing: ${surface.modules_failed.join(", ")}`) : null;
  return [
    h("p", null, surface.message),
    before,
    partOf("New", "new", surface.new, item),
    partOf("Gone", "gone", surface.gone, item),
    partOf("Changed", "changed", surface.changed, change),
    failed,
  ];
}

function partOf(title, name, found, draw) {
  if (!found?.total) return null;
  const more = found.total - found.items.length;
  return h("details", { class: `surface ${name}`, open: name === "new" },
    h("summary", null, `${title} (${number(found.total)})`),
    countList(found.by_type),
    h("ul", { class: "items" }, found.items.map((one) => h("li", null, draw(one)))),
    more > 0 ? h("p", { class: "muted small" }, `and ${number(more)} more`) : null);
}

function item(one) {
  return [badge(one.severity), h("div", null, h("div", { class: "data" }, one.data), h("div", { class: "muted small" }, `${one.event_type}, ${one.module}`))];
}

function change(one) {
  return [badge(one.severity), h("div", null,
    h("div", { class: "data" }, h("del", null, one.before?.data ?? ""), " ", h("ins", null, one.data)),
    h("div", { class: "muted small" }, `${one.event_type}, ${one.module}`))];
}
