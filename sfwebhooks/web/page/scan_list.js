/* The last scans. */

import { ago, api, badge, empty, fill, h, live, number } from "./app.js";

/** Scans that are shown. */
const SHOWN = 8;

/** Return {element, load(), end()}. */
export function scanList() {
  const body = h("div");
  const element = h(
    "section",
    { class: "card", "aria-labelledby": "scans-title" },
    h("header", null, h("h2", { id: "scans-title" }, "Last scans"), h("a", { href: "/scans" }, "All scans")),
    body,
  );
  let shown = [];
  const draw = () => {
    const rows = h("ul", { class: "rows" }, shown.map(scanRow));
    fill(body, shown.length ? rows : empty("No scan yet", h("p", null, "A scan is listed here from its start on.")));
  };
  const show = (items) => {
    const known = new Map([...shown, ...items].map((scan) => [scan.scan, scan]));
    const last = [...known.values()].sort((one, other) => (one.began_at < other.began_at ? 1 : -1)).slice(0, SHOWN);
    if (JSON.stringify(last) === JSON.stringify(shown) && body.firstChild) return;
    shown = last;
    draw();
  };
  const end = live("scans", ({ items }) => show(items));
  const load = async () => show((await api("GET", `/v1/scans?limit=${SHOWN}`)).items);
  return { element, load, end };
}

function scanRow(scan) {
  const { waiting = 0, delivered = 0, dead = 0 } = scan.deliveries ?? {};
  const counts = [
    `${number(delivered)} delivered`,
    waiting && `${number(waiting)} waiting`,
    dead && `${number(dead)} dead`,
  ].filter(Boolean);
  const name = scan.name && scan.name !== scan.target ? `${scan.name} · ` : "";
  return h(
    "li",
    null,
    h(
      "div",
      { class: "feed-line" },
      h("a", { href: `/scans/${encodeURIComponent(scan.scan)}` }, scan.target || scan.scan),
      badge(scan.status),
    ),
    h("div", { class: "feed-line muted small" }, h("span", null, name, counts.join(", ")), ago(scan.began_at)),
  );
}
