/* DOM: text and numbers come in, nodes go out. All foreign text becomes text nodes; nothing here parses HTML. */

const SVG = "http://www.w3.org/2000/svg";
/** Set as properties: as attributes they would only be defaults. */
const PROPERTIES = new Set(["value", "checked", "indeterminate", "selected", "open"]);
/** Addresses that a link or a frame may have: a URL of ours, or one that a browser opens as a page. */
const ADDRESS = /^(?:[/#?]|https?:\/\/)/i;
/** Control signs, signs that change the direction of text, and most of those without width. */
const HIDING = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g;

/**
 * Return an element. Attributes that are null, undefined or false are omitted, true is an empty one, and a function
 * under `onclick` and the like is a listener. Children are nodes, text, numbers, or lists of these.
 */
export function h(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) setAttribute(node, name, value);
  return add(node, children);
}

function setAttribute(node, name, value) {
  if (value === null || value === undefined || value === false) return;
  if (name.startsWith("on")) {
    if (typeof value !== "function") throw new TypeError(`${name} is not a function`);
    node.addEventListener(name.slice(2).toLowerCase(), value);
  } else if (PROPERTIES.has(name)) {
    node[name] = value;
  } else if ((name !== "href" && name !== "src") || ADDRESS.test(value)) {
    node.setAttribute(name, value === true ? "" : value);
  }
}

function add(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : document.createTextNode(visible(String(child))));
  }
  return node;
}

/** Return text in which signs that would hide or turn round what is next to them are shown as escapes. */
export function visible(text) {
  return text.replace(HIDING, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** Replace the children of a node. */
export function fill(node, ...children) {
  node.replaceChildren();
  return add(node, children);
}

/** Set the text of a node, and touch nothing where it is the same. */
export function setText(node, text) {
  if (node.textContent !== String(text)) node.textContent = text;
}

/** Paths of 16 x 16 icons, drawn as lines. */
const ICONS = {
  check: "M3.5 8.5l3 3 6-7",
  cross: "M4.2 4.2l7.6 7.6M11.8 4.2l-7.6 7.6",
  alert: "M8 2.3l6.2 11H1.8zM8 6.6v3M8 11.4v.1",
  pause: "M5.5 3.8v8.4M10.5 3.8v8.4",
  clock: "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2zM8 4.8V8l2.2 1.4",
  off: "M3.5 8h9",
  running: "M8 2.2A5.8 5.8 0 1 1 2.2 8M8 5.2V8l2 1.3",
  info: "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2zM8 7.4v3.4M8 5.1v.1",
  search: "M7 2.6a4.4 4.4 0 1 0 0 8.8 4.4 4.4 0 0 0 0-8.8zM10.4 10.4l3.2 3.2",
  plus: "M8 3.2v9.6M3.2 8h9.6",
  retry: "M13 8a5 5 0 1 1-1.4-3.5L13 6M13 2.6V6H9.6",
  back: "M9.8 3.5L5.2 8l4.6 4.5",
  next: "M6.2 3.5L10.8 8l-4.6 4.5",
  copy: "M5.5 5.5h7.6v7.6H5.5zM3 10.4V2.9h7.5",
  sun: "M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM8 1.4v1.4M8 13.2v1.4M1.4 8h1.4M13.2 8h1.4M3.3 3.3l1 1M11.7 11.7l1 1M12.7 3.3l-1 1M4.3 11.7l-1 1",
  moon: "M13.2 9.6A5.6 5.6 0 0 1 6.4 2.8a5.6 5.6 0 1 0 6.8 6.8z",
  half: "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2zM8 2v12M10 2.6v10.8M12 3.8v8.4",
  keys: "M1.8 4.5h12.4v7H1.8zM4.2 7v.1M6.7 7v.1M9.3 7v.1M11.8 7v.1M5 9.4h6",
  out: "M9.5 2.8H3.2v10.4h6.3M6.8 8h7M11.4 5.4L14 8l-2.6 2.6",
};

/** Return an element of SVG. */
export function svg(tag, attributes, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes ?? {})) node.setAttribute(name, value);
  return add(node, children);
}

/** Return an icon; it is hidden from screen readers, so that text has to be next to it. */
export function icon(name) {
  const path = svg("path", { d: ICONS[name] ?? ICONS.info });
  return svg("svg", { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true" }, path);
}

/** State of an endpoint, delivery or scan, or a severity -> [tone, icon]. */
const STATES = {
  ready: ["ok", "check"],
  delivered: ["ok", "check"],
  finished: ["ok", "check"],
  running: ["info", "running"],
  waiting: ["info", "clock"],
  paused: ["idle", "pause"],
  off: ["idle", "off"],
  aborted: ["warn", "alert"],
  unknown: ["warn", "alert"],
  late: ["warn", "clock"],
  refused: ["warn", "alert"],
  critical: ["bad", "alert"],
  high: ["bad", "alert"],
  medium: ["warn", "info"],
  low: ["idle", "info"],
  info: ["idle", "info"],
};

/** Return a state in words with an icon and a colour; a state that is not known needs attention. */
export function badge(state, words) {
  const [tone, shape] = STATES[state] ?? ["bad", "cross"];
  return h("span", { class: `badge ${tone}` }, icon(shape), words ?? String(state).replaceAll("_", " "));
}

/**
 * Return a table, which is a list of cards on a narrow screen.
 *
 * A column is {title, cell: row => text or node, number: bool, wide: bool}. The first one heads its row; `wide` takes
 * what width is left. `options` are {label, row: (element, row) => void}.
 */
export function table(columns, rows, options = {}) {
  const heads = columns.map((column) =>
    h("th", { scope: "col", role: "columnheader", class: classOf(column) }, column.title),
  );
  const body = h(
    "tbody",
    { role: "rowgroup" },
    rows.map((row) => tableRow(columns, row, options.row)),
  );
  return h(
    "table",
    { role: "table", "aria-label": options.label },
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads)),
    body,
  );
}

/** Return a row of `table`. */
export function tableRow(columns, row, decorate) {
  const cells = columns.map((column, at) => {
    const attributes = { role: at ? "cell" : "rowheader", class: classOf(column), "data-title": column.title };
    return h(at ? "td" : "th", at ? attributes : { ...attributes, scope: "row" }, h("div", null, column.cell(row)));
  });
  const element = h("tr", { role: "row" }, cells);
  decorate?.(element, row);
  return element;
}

function classOf(column) {
  return [column.number && "number", column.wide && "wide"].filter(Boolean).join(" ") || null;
}

/**
 * Bring the children of a node in line with a list: elements stay for items that stay, so that focus does.
 *
 * @param create item => element
 * @param update (element, item) => void; called for elements that stay
 */
export function keyed(parent, items, key, create, update) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    let element = known.get(name);
    known.delete(name);
    if (element) {
      update?.(element, item);
    } else {
      element = create(item);
      element.dataset.key = name;
    }
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
  }
  for (const element of known.values()) element.remove();
}

/** Return a function that calls another one in the next frame, once, however often it is called before. */
export function batched(callback) {
  let frame = 0;
  return () => {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      callback();
    });
  };
}

/** Return a function that calls another one after a pause in milliseconds, once for all calls until then; `stop` prevents that. */
export function delayed(callback, pause) {
  let timer = 0;
  const soon = () => {
    timer ||= setTimeout(() => {
      timer = 0;
      callback();
    }, pause);
  };
  soon.stop = () => {
    clearTimeout(timer);
    timer = 0;
  };
  return soon;
}

/** Return the head of a page: its title, which gets the focus when the page is opened, and what can be done there. */
export function pageHead(title, ...actions) {
  const heading = h("h1", { tabindex: -1 }, title);
  return h("div", { class: "page-head" }, heading, actions.length ? h("div", { class: "actions" }, actions) : null);
}

/** Return a notice: tone is ok, info, warn or bad. */
export function notice(tone, ...children) {
  const shape = { ok: "check", info: "info", warn: "alert", bad: "alert" }[tone];
  return h(
    "div",
    { class: `notice ${tone}`, role: tone === "bad" ? "alert" : null },
    icon(shape),
    h("div", null, children),
  );
}

/** Return the words for a list without rows, with what to do about it. */
export function empty(title, ...children) {
  return h("div", { class: "empty" }, h("p", { class: "empty-title" }, title), children);
}

/** Return the notice for an answer that did not come; `again` makes a button that tries once more. */
export function failure(problem, again) {
  const words = [problem.title, problem.detail].filter(Boolean).join(": ") || String(problem.message ?? problem);
  const button = again && h("button", { type: "button", onclick: again }, icon("retry"), "Try again");
  return notice("bad", h("p", null, words), button ? h("p", null, button) : null);
}

/** Return a labelled input. */
export function field(label, input, help) {
  input.id ||= `field-${(field.number = (field.number ?? 0) + 1)}`;
  const helpId = `${input.id}-help`;
  if (help) input.setAttribute("aria-describedby", helpId);
  return h(
    "div",
    { class: "field" },
    h("label", { for: input.id }, label),
    input,
    help ? h("p", { class: "help", id: helpId }, help) : null,
  );
}
