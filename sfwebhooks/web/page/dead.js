/* The dead letters in groups of endpoint and reason: some or all of them are replayed or dropped, and before anything is
 * done the dialog says what it will do. */

import { ago, amount, api, delayed, empty, failure, fill, h, icon, live, mayChange, number, pageHead, toast, words } from "./app.js";
import { confirmEffect } from "./dead_dialog.js";
import { left } from "./delivery.js";
import { filterBar } from "./delivery_filters.js";
import { deliveryRow, isTaken, sentence } from "./delivery_words.js";
import { feed } from "./feed.js";
import { longList } from "./long_list.js";
import { reasonWords, styled } from "./words.js";

/** Milliseconds between two readings of the groups. */
const PACE = 2_000;
/** Ids in one request. */
const IDS_MAX = 1_000;
/** Characters of a reply in a row. */
const REPLY = 200;

const keyOf = (group) => `${group.endpoint}\n${group.reason}`;

export async function render(main) {
  await styled("deliveries.css");
  const isChanging = mayChange();
  /** Key -> what is drawn of a group. */
  const drawn = new Map();
  let groups = null;
  const readLater = delayed(read, PACE);
  let turn = 0;
  let address = location.pathname + location.search;

  const bar = filterBar({ names: ["endpoint", "type", "since"], changed: begin });
  const summary = h("p", { class: "muted dead-summary" });
  const list = h("div", { class: "stack" });
  const actions = h("div", { class: "selection-bar", role: "region", "aria-label": "Selection", hidden: true });
  const all = isChanging ? [actionButton("replay", "Replay all", wholly, ""), actionButton("drop", "Drop all", wholly)] : [];
  fill(main, pageHead("Dead letters", all), summary, bar.element, list, isChanging ? actions : null);

  /** Return a selection of all that pass the filters. */
  function wholly() {
    const given = Object.keys(bar.filters).length ? bar.filters : { all: true };
    return { requests: [given], number: groups.reduce((sum, group) => sum + group.deliveries, 0) };
  }

  /** Return what is selected: each request selects by ids, or all of a group. */
  function selected() {
    const ids = [...drawn.values()].flatMap((one) => (one.isWhole ? [] : [...one.chosen]));
    const whole = [...drawn.values()].filter((one) => one.isWhole);
    const requests = whole.map(({ group }) => ({ ...bar.filters, endpoint: group.endpoint, reason: group.reason }));
    for (let at = 0; at < ids.length; at += IDS_MAX) requests.push({ ids: ids.slice(at, at + IDS_MAX) });
    return { requests, number: whole.reduce((sum, { group }) => sum + group.deliveries, ids.length) };
  }

  function actionButton(action, label, selection, tone = action === "replay" ? "primary" : "danger") {
    const run = async () => {
      const done = await confirmEffect(action, selection());
      if (!done) return;
      toast(done);
      clearSelection();
      await read();
    };
    return h("button", { type: "button", class: tone, onclick: run }, icon(action === "replay" ? "retry" : "cross"), label);
  }

  function begin() {
    turn += 1;
    address = location.pathname + location.search;
    for (const one of drawn.values()) one.stop();
    drawn.clear();
    fill(list);
    drawActions();
    return read();
  }

  async function read() {
    const own = turn;
    readLater.stop();
    list.setAttribute("aria-busy", "true");
    try {
      const found = await api("GET", `/v1/dead-letters/groups?${new URLSearchParams(bar.filters)}`);
      if (own !== turn) return;
      groups = found.items;
      draw();
    } catch (problem) {
      if (own === turn && !groups) fill(list, failure(problem, read));
    } finally {
      list.removeAttribute("aria-busy");
    }
  }

  function draw() {
    const total = groups.reduce((sum, group) => sum + group.deliveries, 0);
    for (const button of main.querySelectorAll(".page-head button")) button.disabled = !total;
    fill(summary, total ? `${amount(total, "delivery", "deliveries")} could not be sent and will not be tried again, unless you replay them.` : "");
    const keys = new Set(groups.map(keyOf));
    for (const [key, one] of drawn) {
      if (keys.has(key)) continue;
      one.stop();
      one.element.remove();
      drawn.delete(key);
    }
    let place = list.firstElementChild;
    if (place && !place.dataset.group) fill(list), (place = null);
    for (const group of groups) {
      const known = drawn.get(keyOf(group));
      const one = known ?? drawGroup(group, bar, isChanging, drawActions);
      drawn.set(keyOf(group), one);
      if (known) one.update(group);
      if (one.element === place) place = place.nextElementSibling;
      else list.insertBefore(one.element, place);
    }
    if (!groups.length) fill(list, nothing());
    drawActions();
  }

  function nothing() {
    if (!Object.keys(bar.filters).length) return empty("No dead letters", h("p", null, "Every delivery was sent, or will be."));
    return empty("No dead letter matches these filters", h("button", { type: "button", onclick: bar.clear }, "Clear filters"));
  }

  const chosenWords = h("span", { class: "selection-words", role: "status" });
  fill(actions, chosenWords, h("div", { class: "actions" },
    actionButton("replay", "Replay", selected),
    actionButton("drop", "Drop", selected),
    h("button", { type: "button", class: "plain", onclick: clearSelection }, "Clear"),
  ));

  function drawActions() {
    const { number: chosen } = selected();
    actions.hidden = !isChanging || !chosen;
    if (chosen) fill(chosenWords, `${number(chosen)} selected`);
  }

  function clearSelection() {
    for (const one of drawn.values()) one.clear();
    drawActions();
  }

  function pressed(event) {
    if (isTaken(event)) return;
    if (event.key === "Escape" && !actions.hidden) clearSelection();
    else return;
    event.preventDefault();
  }

  const unsubscribe = [live("attempts", readLater), live("status", readLater), live("connected", readLater)];
  document.addEventListener("keydown", pressed);
  void read();
  return () => {
    turn += 1;
    readLater.stop();
    unsubscribe.forEach((stop) => stop());
    document.removeEventListener("keydown", pressed);
    const opened = [...drawn.values()].find((one) => one.element.contains(document.activeElement));
    Object.assign(left, { address, title: "Dead letters", listing: opened?.listing ?? null, isBack: false });
    for (const one of drawn.values()) one.stop();
    bar.stop();
  };
}

/** Return the beginning of the last reply: the reason is that of the whole group. */
function replyWords({ last_attempt: last }) {
  return last ? last.excerpt.slice(0, REPLY) || reasonWords(last.reason) : "";
}

/** Draw a group; `changed` is called after its selection has changed. */
function drawGroup(given, bar, isChanging, changed) {
  let group = given;
  const chosen = new Set();
  let isWhole = false;
  let listing = null;
  let rows = null;

  const check = h("input", { type: "checkbox", "aria-label": `Select all to ${group.endpoint}: ${reasonWords(group.reason)}` });
  const count = h("span", { class: "group-count number" });
  const since = h("span", { class: "muted small group-since" });
  const body = h("div", { class: "group-body" });
  const foot = h("div", { class: "list-foot" });
  const title = h("summary", null,
    h("span", { class: "group-names" }, h("span", { class: "group-endpoint text" }, group.endpoint), h("span", { class: "group-reason text" }, reasonWords(group.reason))),
    count, since);
  const help = h("div", { class: "group-help" },
    group.meaning ? h("p", null, sentence(group.meaning)) : null,
    group.what_to_do ? h("p", null, h("strong", null, "What to do: "), words(group.what_to_do)) : null);
  const details = h("details", { class: "group" }, title, help, body);
  const element = h("section", { class: "card dead-group", "aria-label": `${group.endpoint}: ${reasonWords(group.reason)}` },
    isChanging ? h("label", { class: "group-check" }, check) : null, details);
  element.dataset.group = "true";

  const row = (item) => {
    const link = deliveryRow(item, "settled_at", replyWords(item));
    if (!isChanging) return [link];
    const box = h("input", { type: "checkbox", checked: isWhole || chosen.has(item.delivery), tabindex: -1, "aria-label": `Select ${item.name} ${item.delivery.slice(0, 8)}` });
    box.addEventListener("change", () => choose(item, box.checked));
    return [h("label", { class: "row-check" }, box), link];
  };

  function choose(item, isChosen) {
    if (isWhole) {
      isWhole = false; // all but this one, of those that are loaded
      listing.items.forEach((other) => chosen.add(other.delivery));
    }
    if (isChosen) chosen.add(item.delivery);
    else chosen.delete(item.delivery);
    draw();
  }

  function draw() {
    check.checked = isWhole;
    check.indeterminate = !isWhole && chosen.size > 0;
    changed();
  }

  function drawNumbers() {
    fill(count, number(group.deliveries));
    fill(since, "last one ", ago(group.newest_at));
  }

  async function more() {
    try {
      await listing.more();
    } catch (problem) {
      fill(foot, failure(problem, more));
      return;
    }
    rows.show(listing.items, rows.current);
    const left = listing.isWhole ? null : h("button", { type: "button", onclick: more }, "Load more");
    fill(foot, left);
  }

  function open() {
    if (!details.open || rows) return;
    listing = feed("/v1/dead-letters", { ...bar.filters, endpoint: group.endpoint, reason: group.reason });
    rows = longList({
      label: `Dead letters to ${group.endpoint}`,
      key: (item) => item.delivery,
      draw: row,
      atEnd: () => !listing.isWhole && !listing.hasFailed && listing.items.length && void more(),
    });
    fill(body, rows.element, foot);
    void more();
  }

  check.addEventListener("change", () => {
    isWhole = check.checked;
    chosen.clear();
    rows?.redrawAll();
    draw();
  });
  details.addEventListener("toggle", open);
  element.addEventListener("keydown", (event) => {
    const at = event.target.closest(".long-row")?.dataset.place;
    if (event.key !== " " && event.key !== "x") return;
    if (at === undefined || !isChanging || event.target.matches("input") || isTaken(event)) return;
    event.preventDefault();
    const item = listing.items[at];
    choose(item, !(isWhole || chosen.has(item.delivery)));
    rows.redraw(Number(at));
  });

  drawNumbers();
  return {
    element,
    chosen,
    get group() {
      return group;
    },
    get isWhole() {
      return isWhole;
    },
    get listing() {
      return listing;
    },
    /** Take the new numbers; rows that are no longer dead go. */
    async update(now) {
      const isChanged = now.deliveries !== group.deliveries || now.newest_at !== group.newest_at;
      group = now;
      if (isChanged && rows) {
        listing = feed("/v1/dead-letters", { ...bar.filters, endpoint: group.endpoint, reason: group.reason });
        await more();
        const known = new Set(listing.items.map((item) => item.delivery));
        if (listing.isWhole) for (const id of chosen) if (!known.has(id)) chosen.delete(id);
      }
      drawNumbers();
      draw();
    },
    clear() {
      isWhole = false;
      chosen.clear();
      rows?.redrawAll();
      draw();
    },
    stop() {
      rows?.stop();
    },
  };
}
