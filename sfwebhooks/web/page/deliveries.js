/* The deliveries, newest first, with filters in the address; one of them is drawn by delivery.js. */

import { amount, batched, delayed, empty, failure, fill, h, icon, live, pageHead } from "./app.js";
import { drawDelivery, left } from "./delivery.js";
import { filterBar } from "./delivery_filters.js";
import { deliveryHead, deliveryRow, isTaken } from "./delivery_words.js";
import { feed } from "./feed.js";
import { longList } from "./long_list.js";
import { styled } from "./words.js";

/** Milliseconds between two looks for new deliveries. */
const PACE = 2_000;

export async function render(main, { id }) {
  await styled("deliveries.css");
  return id ? drawDelivery(main, id) : drawList(main);
}

function drawList(main) {
  let listing = null;
  /** Newer than the first row, and not shown while somebody reads. */
  let fresh = { items: [], hasGap: false };
  /** Number of the listing that is shown: answers to one before are dropped. */
  let turn = 0;
  let address = location.pathname + location.search;

  const bar = filterBar({
    names: ["q", "state", "endpoint", "type", "since"],
    changed: () => {
      address = location.pathname + location.search;
      void begin();
    },
  });
  const rows = longList({
    label: "Deliveries",
    key: (item) => item.delivery,
    draw: (item) => [deliveryRow(item, isOfDead() ? "settled_at" : "accepted_at")],
    atEnd: () => listing && !listing.isWhole && !listing.hasFailed && void more(),
  });
  const pill = h("button", { type: "button", class: "new-pill", hidden: true, onclick: () => showFresh() });
  const foot = h("div", { class: "list-foot" });
  const head = h("div");
  const panel = h("section", { class: "list-panel", "aria-label": "Results" }, head, rows.element, foot);
  const place = h("div", { class: "new-place", role: "status" }, pill);
  fill(main, pageHead("Deliveries"), bar.element, place, panel);

  /** Whether the API sorts by the time of death. */
  function isOfDead() {
    return bar.filters.state === "dead";
  }

  function begin() {
    turn += 1;
    drawHead();
    listing = feed("/v1/deliveries", bar.filters);
    hidePill();
    panel.setAttribute("aria-busy", "true");
    return more();
  }

  function drawHead() {
    fill(head, deliveryHead(isOfDead() ? "Died" : "Accepted"));
  }

  async function more() {
    const own = turn;
    const isFirst = !listing.items.length;
    if (!isFirst) fill(foot, "Loading…");
    try {
      // a page looks at a limited number of deliveries: of what is rare it may have none, and the next one some
      do await listing.more();
      while (own === turn && !listing.items.length && !listing.isWhole);
    } catch (problem) {
      if (own !== turn) return;
      if (isFirst) rows.show([]);
      fill(foot, failure(problem, more));
      panel.removeAttribute("aria-busy");
      return;
    }
    if (own !== turn) return;
    panel.removeAttribute("aria-busy");
    drawFoot();
    if (isFirst) rows.show(listing.items);
    else rows.extend();
  }

  function drawFoot() {
    const { items, isWhole } = listing;
    if (!items.length) fill(foot, nothing());
    else if (isWhole) fill(foot, h("p", { class: "quiet" }, `${amount(items.length, "delivery", "deliveries")} in all`));
    else fill(foot, h("button", { type: "button", onclick: more }, "Load more"));
  }

  function nothing() {
    if (!Object.keys(bar.filters).length) {
      return empty("No deliveries yet", h("p", null, "They appear here as soon as a scan finds what an endpoint asks for."));
    }
    return empty("No delivery matches these filters", h("button", { type: "button", onclick: bar.clear }, "Clear filters"));
  }

  /** Whether rows may move: nobody points at one, has the focus in one, or has scrolled. */
  function isIdle() {
    return scrollY < 8 && !rows.element.matches(":hover") && !rows.element.contains(document.activeElement);
  }

  async function look() {
    if (!listing?.items || document.hidden) return;
    const [own, asked] = [turn, listing];
    const found = await asked.newest().catch(() => null); // the next event looks again; the bar shows a lost connection
    if (own !== turn || !found) return;
    found.changed.forEach(rows.redraw);
    if (!found.fresh.length) return;
    fresh = { items: found.fresh, hasGap: found.hasGap };
    if (isIdle()) showFresh();
    else showPill();
  }

  function showPill() {
    const { items, hasGap } = fresh;
    fill(pill, icon("next"), hasGap ? `More than ${items.length} new` : `${items.length} new`);
    pill.hidden = false;
  }

  function hidePill() {
    fresh = { items: [], hasGap: false };
    pill.hidden = true;
  }

  /** Put the new ones on top. */
  function showFresh() {
    const { items, hasGap } = fresh;
    const isAsked = !pill.hidden;
    hidePill();
    if (isAsked) scrollTo(0, 0);
    if (hasGap) return begin();
    listing.prepend(items);
    rows.show(listing.items);
    drawFoot();
    return isAsked && rows.focus(0);
  }

  const lookLater = delayed(look, PACE);

  const changed = new Set();
  const redraw = batched(() => {
    changed.forEach(rows.redraw);
    changed.clear();
  });

  function attempted({ items }) {
    for (const item of items) {
      const at = listing?.place(item.delivery);
      if (at === undefined) continue;
      const { attempt, ...fields } = item;
      listing.items[at] = { ...listing.items[at], ...fields, last_attempt: attempt };
      changed.add(at);
    }
    if (changed.size) redraw();
    lookLater();
  }

  function pressed(event) {
    if (isTaken(event) || rows.element.contains(event.target)) return;
    if (!["j", "k"].includes(event.key) || !listing?.items.length) return;
    event.preventDefault();
    rows.focus(rows.current);
  }

  const unsubscribe = [live("attempts", attempted), live("status", lookLater), live("connected", lookLater)];
  document.addEventListener("keydown", pressed);

  if (left.isBack && left.listing) {
    left.isBack = false;
    listing = left.listing;
    drawHead();
    drawFoot();
    requestAnimationFrame(() => {
      rows.show(listing.items, left.place); // after the shell has put the focus on the title
      scrollTo(0, left.scroll);
      rows.focus(left.place);
    });
    lookLater();
  } else {
    void begin();
  }

  return () => {
    turn += 1;
    Object.assign(left, { address, title: "Deliveries", listing, place: rows.current, scroll: scrollY });
    unsubscribe.forEach((stop) => stop());
    lookLater.stop();
    document.removeEventListener("keydown", pressed);
    bar.stop();
    rows.stop();
  };
}
