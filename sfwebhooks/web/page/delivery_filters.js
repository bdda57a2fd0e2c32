/* The filters of deliveries: the page's address comes in, fields go out that change it, so that it can be shared. */

import { api, fill, h, icon, setQuery } from "./app.js";

const NAMES = ["q", "state", "endpoint", "type", "scan", "reason", "since", "until"];
const STATES = [
  ["", "All"],
  ["waiting", "Waiting"],
  ["delivered", "Delivered"],
  ["dead", "Dead"],
];
const AGES = [
  ["", "Any time"],
  ["1h", "Last hour"],
  ["24h", "Last 24 hours"],
  ["7d", "Last 7 days"],
  ["30d", "Last 30 days"],
];
/** Milliseconds without a key after which a text is searched for. */
const TYPING = 250;

/**
 * Return {element, filters, clear, stop}.
 *
 * @param names the filters that have a field; others of the address can only be removed
 * @param changed called with the filters after a change
 */
export function filterBar({ names, changed }) {
  const query = new URLSearchParams(location.search);
  let filters = Object.fromEntries(NAMES.flatMap((name) => (query.get(name) ? [[name, query.get(name)]] : [])));
  let timer = 0;
  const fields = h("div", { class: "filter-fields" });
  const chips = h("div", { class: "filter-chips" });
  const element = h("form", { class: "filter-bar", role: "search", "aria-label": "Filters" }, fields, chips);
  element.addEventListener("submit", (event) => event.preventDefault());

  function apply(name, value) {
    clearTimeout(timer);
    if ((filters[name] ?? "") === value) return;
    const others = Object.fromEntries(Object.entries(filters).filter(([other]) => other !== name));
    filters = value ? { ...others, [name]: value } : others;
    announceChange();
  }

  function announceChange() {
    setQuery(filters);
    drawChips();
    changed(filters);
  }

  function clear() {
    clearTimeout(timer);
    filters = {};
    drawFields();
    announceChange();
    fields.querySelector("input, select")?.focus();
  }

  const makers = {
    q: () => search(filters.q ?? "", (text, isWhole) => {
      clearTimeout(timer);
      if (isWhole) apply("q", text);
      else timer = setTimeout(() => apply("q", text), TYPING);
    }),
    state: () => segments("State", STATES, filters.state ?? "", (value) => apply("state", value)),
    endpoint: () => listed("endpoint", "Endpoint", "Any endpoint", "/v1/status", (found) => found.endpoints.map((one) => one.endpoint)),
    type: () => listed("type", "Event type", "Any event", "/v1/events", (found) => found.items.map((one) => one.name)),
    since: () => select("since", "Accepted", AGES),
  };

  function select(name, label, options) {
    const given = filters[name] ?? "";
    const known = options.some(([value]) => value === given) ? options : [...options, [given, given]];
    const made = h("select", { "aria-label": label }, known.map(([value, text]) => h("option", { value }, text)));
    made.value = given;
    made.addEventListener("change", () => apply(name, made.value));
    return made;
  }

  /** Return a select whose options the API has; until they come, the filter of the address still counts. */
  function listed(name, label, all, path, namesIn) {
    const made = select(name, label, [["", all]]);
    api("GET", path).then(
      (found) => {
        const known = new Set([...made.options].map((option) => option.value));
        made.append(...namesIn(found).filter((one) => !known.has(one)).map((value) => h("option", { value }, value)));
      },
      () => {},
    );
    return made;
  }

  function drawFields() {
    fill(fields, names.map((name) => makers[name]()));
  }

  function drawChips() {
    const others = Object.entries(filters).filter(([name]) => !names.includes(name));
    const clearing = h("button", { type: "button", class: "plain", onclick: clear }, "Clear filters");
    fill(chips, others.map(([name, value]) => chip(name, value, () => apply(name, ""))), Object.keys(filters).length ? clearing : null);
  }

  drawFields();
  drawChips();
  return {
    element,
    clear,
    get filters() {
      return filters;
    },
    stop: () => clearTimeout(timer),
  };
}

function search(value, changed) {
  const input = h("input", {
    type: "search",
    placeholder: "Endpoint, event, target, reason or id",
    "aria-label": "Search",
    "data-filter": true,
    "aria-keyshortcuts": "/",
    autocomplete: "off",
    spellcheck: "false",
    value,
  });
  input.addEventListener("input", () => changed(input.value.trim(), false));
  input.addEventListener("change", () => changed(input.value.trim(), true));
  return h("div", { class: "filter-search" }, icon("search"), input);
}

function segments(label, options, given, changed) {
  const made = options.map(([value, words]) => {
    const input = h("input", { type: "radio", name: label, value, checked: value === given });
    input.addEventListener("change", () => changed(value));
    return h("label", null, input, h("span", null, words));
  });
  return h("fieldset", { class: "segments" }, h("legend", { class: "unseen" }, label), made);
}

function chip(name, value, remove) {
  const label = `Remove the filter ${name}: ${value}`;
  return h(
    "button",
    { type: "button", class: "filter-chip", "aria-label": label, title: label, onclick: remove },
    h("span", { class: "text" }, `${name}: ${value}`),
    icon("cross"),
  );
}
