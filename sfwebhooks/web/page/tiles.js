/* The figures of all endpoints together. */

import { ago, amount, fill, h, number, setText } from "./app.js";
import { lastMinute } from "./meter.js";

/** Return {element, draw(status, figures), pulse(status)}. */
export function tilesOf() {
  const values = {};
  const tile = (name, title) => {
    values[name] = { value: h("span"), note: h("div", { class: "note" }) };
    return h("div", { class: "tile" }, h("dt", null, title), h("dd", null, values[name].value, values[name].note));
  };
  const element = h(
    "dl",
    { class: "tiles" },
    tile("minute", "Delivered, last minute"),
    tile("day", "Delivered, 24 h"),
    tile("waiting", "Waiting"),
    tile("dead", "Dead letters"),
  );
  const set = (name, value, note) => {
    setText(values[name].value, value);
    if (typeof note === "string") setText(values[name].note, note);
    else fill(values[name].note, note);
  };
  const pulse = (status) => {
    const minutes = (status?.endpoints ?? []).map((one) => lastMinute(one.endpoint));
    const about = minutes.some((one) => one.roughly) ? "about " : "";
    set("minute", `${about}${number(sum(minutes, "delivered"))}`, failures(sum(minutes, "failed")));
  };
  const draw = ({ endpoints }, figures) => {
    const rows = [...figures.values()];
    const [oldest] = endpoints.flatMap((one) => one.oldest_accepted_at ?? []).sort();
    const dead = sum(endpoints, "dead");
    const isKnown = rows.length > 0 || endpoints.length === 0;
    set("day", isKnown ? number(sum(rows, "delivered")) : "", isKnown ? failures(sum(rows, "failed")) : "");
    set(
      "waiting",
      number(sum(endpoints, "waiting")),
      oldest ? h("span", null, "the oldest came ", ago(oldest)) : "nothing",
    );
    set("dead", number(dead), dead ? h("a", { href: "/dead" }, "replay or drop them") : "none");
    pulse({ endpoints });
  };
  return { element, draw, pulse };
}

function sum(items, name) {
  return Math.round(items.reduce((total, one) => total + (one[name] ?? 0), 0));
}

function failures(count) {
  return count ? `${amount(count, "attempt")} failed` : "no attempt failed";
}
