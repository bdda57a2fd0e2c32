/* The scans' part of the page: the list, newest first and live, or one of them. */

import { ago, api, badge, delayed, empty, failure, fill, h, live, number, pageHead, table } from "./app.js";
import { lengthOf, renderScan, scanPath } from "./scan.js";
import { redraw, styled } from "./words.js";

/** Scans in a page of the list. */
const PAGE = 50;
/** Milliseconds between two readings of the list while scans are running. */
const PAUSE = 1_500;
const COLUMNS = [
  { title: "Scan", wide: true, cell: nameCell },
  { title: "Status", cell: (scan) => badge(scan.status) },
  { title: "Began", cell: (scan) => ago(scan.began_at) },
  { title: "Took", number: true, cell: lengthCell },
  { title: "Delivered", number: true, cell: (scan) => deliveriesCell(scan, "delivered") },
  { title: "Waiting", number: true, cell: (scan) => deliveriesCell(scan, "waiting") },
  { title: "Dead", number: true, cell: (scan) => deliveriesCell(scan, "dead") },
];

/** Draw what an address means; returns what ends it. */
export async function render(main, { id }) {
  await styled("endpoints.css");
  return id ? renderScan(main, id) : renderList(main);
}

function nameCell(scan) {
  const about = [scan.name && scan.target !== scan.name ? scan.target : "", scan.scan].filter(Boolean).join(" · ");
  return [h("a", { class: "name", href: scanPath(scan.scan) }, scan.name || scan.target || scan.scan), h("div", { class: "muted small" }, about)];
}

function lengthCell(scan) {
  return scan.status === "running" ? h("span", { class: "muted" }, "for ", lengthOf(scan)) : lengthOf(scan);
}

function deliveriesCell(scan, state) {
  const count = scan.deliveries?.[state] ?? 0;
  const query = `scan=${encodeURIComponent(scan.scan)}`;
  const path = state === "dead" ? `/dead?${query}` : `/deliveries?${query}&state=${state}`;
  return count ? h("a", { href: path }, number(count)) : h("span", { class: "muted" }, "0");
}

async function renderList(main) {
  const rows = h("div", { class: "card" });
  const foot = h("div", { class: "list-end" });
  let scans = [];
  let next = null;
  let drawn = "";
  let isOver = false;
  fill(main, pageHead("Scans"), rows, foot);

  const draw = () => {
    const text = JSON.stringify(scans) + (scans.some((scan) => scan.status === "running") ? Date.now() : "");
    if (text === drawn || isOver) return;
    drawn = text;
    redraw(rows, scans.length ? table(COLUMNS, scans, { label: "Scans" }) : nothing());
    fill(foot, next ? h("button", { type: "button", onclick: more }, "Older scans") : null);
  };
  /** Read the first page again; older ones that are shown stay. */
  const read = async () => {
    const page = await api("GET", `/v1/scans?limit=${PAGE}`);
    const known = new Set(page.items.map((scan) => scan.scan));
    const older = scans.slice(PAGE).filter((scan) => !known.has(scan.scan));
    if (!older.length) ({ next } = page);
    scans = [...page.items, ...older];
    draw();
  };
  const more = async () => {
    try {
      const page = await api("GET", `/v1/scans?limit=${PAGE}&cursor=${encodeURIComponent(next)}`);
      const known = new Set(scans.map((scan) => scan.scan));
      scans = [...scans, ...page.items.filter((scan) => !known.has(scan.scan))];
      ({ next } = page);
      draw();
    } catch (problem) {
      fill(foot, failure(problem, more));
    }
  };
  const readLater = delayed(() => read().catch((problem) => problem.status === undefined && console.error(problem)), PAUSE);
  await read();
  const ends = [live("scans", readLater), live("connected", readLater)];
  return () => {
    isOver = true;
    readLater.stop();
    ends.forEach((end) => end());
  };
}

function nothing() {
  return empty("No scan yet", h("p", null, "A scan is listed here from its start on, if webhooks are on in it. ", h("code", null, "sfwebhooks doctor"), " shows whether they are."));
}
