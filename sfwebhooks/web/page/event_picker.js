/* A choice of event types: boxes that edit the list of names in a field, next to the patterns that are typed there. */

import { h } from "./app.js";

/** Return the names in a list as the API has it, or as it is typed. */
export function namesIn(events) {
  return Array.isArray(events) ? events : String(events ?? "").split(/[\s,]+/).filter(Boolean);
}

/** Return a box for each type, which follows what is typed into the field. */
export function eventPicker(field, types) {
  const boxes = types.map((type) => {
    const box = h("input", { type: "checkbox", value: type.name });
    box.addEventListener("change", () => {
      const names = namesIn(field.input.value).filter((name) => name !== type.name);
      field.set([...names, ...(box.checked ? [type.name] : [])].join(", "));
    });
    return { box, label: h("label", { class: "event-type" }, box, h("code", null, type.name), h("span", { class: "help" }, type.meaning)) };
  });
  const follow = () => {
    const names = new Set(namesIn(field.input.value));
    for (const { box } of boxes) box.checked = names.has(box.value);
  };
  field.input.addEventListener("input", follow);
  follow();
  return h("details", { class: "event-types" }, h("summary", null, "Choose from the list"), h("div", null, boxes.map((one) => one.label)));
}
