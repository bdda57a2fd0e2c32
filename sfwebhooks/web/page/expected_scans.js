/* The watch over expected scans: when each one is due next, and when they were last looked for. */

import { ago, badge, fill, h, moment } from "./app.js";

/** Targets of an expectation that are named. */
const NAMED = 3;

/** Return {element, draw(status)}. */
export function expectedScans() {
  const element = h("section", { class: "card", hidden: true, "aria-labelledby": "expected-title" });
  let drawn = "";
  const draw = ({ watch }) => {
    const text = JSON.stringify(watch ?? null);
    if (text === drawn) return;
    drawn = text;
    const expected = watch?.expected ?? [];
    element.hidden = !expected.length;
    const looked = watch?.looked_at
      ? h("span", { class: "muted small" }, "last looked for ", ago(watch.looked_at))
      : badge("late", "never looked for");
    const head = h("header", null, h("h2", { id: "expected-title" }, "Expected scans"), looked);
    fill(element, head, h("ul", { class: "rows" }, expected.map(expectedRow)));
  };
  return { element, draw };
}

function expectedRow(one) {
  const more = one.scans.length > NAMED ? ` and ${one.scans.length - NAMED} more` : "";
  return h(
    "li",
    null,
    h("div", null, h("strong", null, one.scans.slice(0, NAMED).join(", ")), more),
    h("div", { class: "muted small" }, one.name, " · next ", one.next_at[0] ? moment(one.next_at[0]) : "never"),
  );
}
