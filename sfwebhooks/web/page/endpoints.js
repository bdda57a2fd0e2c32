/* The endpoints: each with its state, what waits for it and its last results, those that need attention first. */

import { ago, api, badge, empty, fill, h, icon, live, mayChange, number, pageHead, table, words } from "./app.js";
import { NEW_PATH, endpointPath, stateOf } from "./webhooks.js";
import { reasonWords, redraw, stateReason } from "./words.js";

/** Endpoints from which on there is a filter. */
const FILTERED = 8;
const COLUMNS = [
  { title: "Endpoint", wide: true, cell: nameCell },
  { title: "State", cell: (row) => badge(row.status.state) },
  { title: "Waiting", number: true, cell: waitingCell },
  { title: "Dead", number: true, cell: (row) => countLink(row.status.dead, `/dead?endpoint=${encodeURIComponent(row.id)}`) },
  { title: "Last success", cell: (row) => ago(row.status.last_success_at) || "never" },
  { title: "Last error", cell: errorCell },
];

function nameCell(row) {
  const { status } = row;
  const about = [row.format, status.to || row.url].filter(Boolean).join(" · ");
  return [
    h("a", { href: endpointPath(row.id), class: "name" }, row.id),
    h("div", { class: "muted small" }, about),
    row.description ? h("div", { class: "muted small" }, row.description) : null,
    status.needs_attention ? h("div", { class: "trouble" }, words(troubleOf(status), status.endpoint)) : null,
  ];
}

/** Return what is the matter, and what to do if that does not say so. */
function troubleOf(status) {
  const { why, what_to_do: help } = status;
  const words = stateReason(status) || why || "";
  return help && !words.includes("sfwebhooks ") ? `${words}: ${help}` : words;
}

function waitingCell({ id, status }) {
  if (!status.waiting) return "0";
  const oldest = status.oldest_accepted_at ? h("div", { class: "muted small" }, "oldest ", ago(status.oldest_accepted_at)) : null;
  return [countLink(status.waiting, `/deliveries?endpoint=${encodeURIComponent(id)}&state=waiting`), oldest];
}

function errorCell({ status }) {
  if (!status.last_error) return h("span", { class: "muted small" }, "none");
  return [h("span", null, reasonWords(status.last_error.reason)), h("div", { class: "muted small" }, ago(status.last_error.at))];
}

function countLink(value, path) {
  return value ? h("a", { href: path }, number(value)) : "0";
}

/** Draw the list; returns what ends it. */
export async function renderList(main) {
  const place = h("div", { class: "card" });
  const filter = h("input", { type: "search", class: "list-filter", "data-filter": true, "aria-label": "Filter by name, place or state", placeholder: "Filter by name, place or state", hidden: true, oninput: () => draw() });
  let webhooks = [];
  let states = new Map();

  function rows() {
    const known = webhooks.map((one) => ({ ...one, status: states.get(one.id) ?? stateOf(one) }));
    const names = new Set(webhooks.map((one) => one.id));
    const others = [...states.values()].filter((one) => !names.has(one.endpoint));
    const all = [...known, ...others.map((status) => ({ id: status.endpoint, url: "", format: "", status }))];
    const text = filter.value.trim().toLowerCase();
    const isMeant = ({ id, format, url, description, status }) => [id, format, url, description, status.state].join(" ").toLowerCase().includes(text);
    return all.filter(isMeant).sort((one, other) => other.status.needs_attention - one.status.needs_attention || one.id.localeCompare(other.id));
  }

  function draw() {
    const found = rows();
    filter.hidden = !filter.value && found.length < FILTERED;
    redraw(place, found.length ? table(COLUMNS, found, { label: "Endpoints" }) : filter.value ? empty("No endpoint matches the filter") : nothing());
  }

  const create = mayChange() ? h("a", { class: "button primary", href: NEW_PATH }, icon("plus"), "New endpoint") : null;
  fill(main, pageHead("Endpoints", create), filter, place);
  const read = async () => {
    const [listed, status] = await Promise.all([api("GET", "/v1/webhooks"), api("GET", "/v1/status")]);
    webhooks = listed.items;
    states = new Map(status.endpoints.map((one) => [one.endpoint, one]));
    draw();
  };
  const show = (status) => {
    const known = new Set(webhooks.map((one) => one.id));
    states = new Map(status.endpoints.map((one) => [one.endpoint, one]));
    if (webhooks.every((one) => states.has(one.id)) && status.endpoints.every((one) => known.has(one.endpoint) || one.state === "removed")) draw();
    else void read().catch(() => draw());
  };
  await read();
  const ends = [live("status", show), live("connected", () => void read().catch(() => {}))];
  return () => ends.forEach((end) => end());
}

function nothing() {
  const how = mayChange()
    ? h("p", null, h("a", { class: "button primary", href: NEW_PATH }, icon("plus"), "New endpoint"))
    : h("p", null, "An operator can add one here, or with ", h("code", null, "sfwebhooks create NAME"), ".");
  return empty("No endpoints yet", h("p", null, "An endpoint is where events are sent: a SIEM, a chat, a program of yours."), how);
}
