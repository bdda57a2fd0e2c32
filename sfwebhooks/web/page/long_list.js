/* A list of any length: only the rows near the window are in the document, so that 100,000 cost what 50 do.
 *
 * All rows have the same height, which the style sheet gives. One row is reached by Tab, the others by arrows, j and k. */

import { h } from "./app.js";

/** Rows kept above and below the window. */
const AROUND = 6;

/**
 * Make a list.
 *
 * @param {object} given
 * @param {string} given.label what is listed
 * @param {(item: object) => string} given.key what distinguishes an item from the others
 * @param {(item: object) => Node[]} given.draw the content of its row; its first link or button takes the focus
 * @param {() => void} [given.atEnd] called while the last row is near the window
 */
export function longList({ label, key, draw, atEnd = () => {} }) {
  const element = h("div", { class: "long-list", role: "list", "aria-label": label });
  const rows = new Map(); // place -> element
  let items = [];
  let current = 0;
  let height = 0;
  let frame = 0;

  const target = (row) => row.querySelector("a, button");
  const hasFocus = () => element.contains(document.activeElement);

  function row(place) {
    const made = h("div", { class: "long-row", role: "listitem" }, ...draw(items[place]));
    made.dataset.place = place;
    made.setAttribute("aria-posinset", place + 1);
    made.setAttribute("aria-setsize", items.length);
    made.style.transform = `translateY(${place * height}px)`;
    target(made).tabIndex = place === current ? 0 : -1;
    return made;
  }

  /** Put the rows of these places that are missing between those that are shown: their order is the one of reading. */
  function put(first, last) {
    let missing = [];
    const insert = (before) => {
      if (before) before.before(...missing);
      else element.append(...missing);
      missing = [];
    };
    for (let place = first; place <= last; place += 1) {
      const shown = rows.get(place);
      if (shown) insert(shown);
      else rows.set(place, missing[missing.push(row(place)) - 1]);
    }
    insert([...element.children].find((other) => Number(other.dataset.place) > last) ?? null);
  }

  function measure() {
    const probe = h("div", { class: "long-row" });
    element.append(probe);
    height = probe.offsetHeight;
    probe.remove();
  }

  function size() {
    element.style.height = `${items.length * height}px`;
    for (const made of rows.values()) made.setAttribute("aria-setsize", items.length);
  }

  function paint() {
    frame = 0;
    if (!items.length || !height) return;
    const top = -element.getBoundingClientRect().top;
    const bottom = top + window.innerHeight;
    const first = Math.max(Math.floor(top / height) - AROUND, 0);
    const last = Math.min(Math.ceil(bottom / height) + AROUND, items.length - 1);
    const visible = Math.min(Math.max(Math.ceil(top / height), 0), items.length - 1);
    if (!hasFocus() && (current < visible || current > last)) mark(visible);
    for (const [place, made] of rows) {
      const isOutside = place < first || place > last;
      if (isOutside && !made.contains(document.activeElement)) {
        made.remove();
        rows.delete(place);
      }
    }
    put(first, last);
    if (bottom / height > items.length - AROUND) atEnd();
  }

  function later() {
    frame ||= requestAnimationFrame(paint);
  }

  function again() {
    for (const made of rows.values()) made.remove();
    rows.clear();
    size();
    paint();
  }

  function mark(place) {
    const before = rows.get(current);
    const now = rows.get(place);
    if (before) target(before).tabIndex = -1;
    if (now) target(now).tabIndex = 0;
    current = place;
  }

  /** Focus a row, and scroll to it. */
  function focus(place) {
    if (!items.length) return;
    const to = Math.min(Math.max(place, 0), items.length - 1);
    put(to, to);
    mark(to);
    target(rows.get(to)).focus({ preventScroll: true });
    rows.get(to).scrollIntoView({ block: "nearest" });
  }

  function pressed(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const page = Math.max(Math.floor(window.innerHeight / height) - 4, 1);
    const steps = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1, PageDown: page, PageUp: -page };
    if (event.key in steps) focus(current + steps[event.key]);
    else if (event.key === "Home") focus(0);
    else if (event.key === "End") focus(items.length - 1);
    else return;
    event.preventDefault();
  }

  function entered(event) {
    const row = event.target.closest(".long-row");
    if (row) mark(Number(row.dataset.place));
  }

  function resized() {
    measure();
    again();
  }

  element.addEventListener("keydown", pressed);
  element.addEventListener("focusin", entered);
  window.addEventListener("scroll", later, { passive: true });
  window.addEventListener("resize", resized);

  return {
    element,
    focus,
    /** The place of the row that Tab reaches. */
    get current() {
      return current;
    },
    /** Show items instead of those before; the focus stays on its item. */
    show(given, place = 0) {
      const held = hasFocus() && items[current] ? key(items[current]) : null;
      items = given;
      const found = held === null ? -1 : items.findIndex((item) => key(item) === held);
      current = found >= 0 ? found : Math.min(place, Math.max(items.length - 1, 0));
      measure();
      again();
      if (found >= 0) target(rows.get(found) ?? element.firstChild)?.focus({ preventScroll: true });
    },
    /** Show items that were added at the end. */
    extend() {
      size();
      paint();
    },
    /** Draw an item again, if its row is shown. */
    redraw(place) {
      const before = rows.get(place);
      if (!before) return;
      const held = before.contains(document.activeElement);
      const made = row(place);
      before.replaceWith(made);
      rows.set(place, made);
      if (held) target(made).focus({ preventScroll: true });
    },
    redrawAll: again,
    stop() {
      cancelAnimationFrame(frame);
      window.removeEventListener("scroll", later);
      window.removeEventListener("resize", resized);
    },
  };
}
