/* A long text that is shown as text: JSON with line breaks or as it is, cut at first, with a button to copy it. */

import { amount, fill, h, icon, toast } from "./app.js";

/** Characters that are shown at first, and levels of JSON that are indented. */
const FIRST = 20_000;
const LEVELS_MAX = 32;

/** Return the block; `label` says what it is. */
export function textBlock(label, text) {
  const lines = isJson(text) ? indented(text) : text;
  const choices = lines === text ? [] : [["Formatted", lines], ["As sent", text]];
  const shown = h("pre", { class: "text-block", tabindex: 0, role: "region", "aria-label": label });
  const more = h("div");
  const pick = (value) => {
    fill(shown, value.slice(0, FIRST));
    const rest = value.length - FIRST;
    const all = () => {
      fill(shown, value);
      fill(more);
    };
    fill(more, rest > 0 ? h("button", { type: "button", onclick: all }, `Show ${amount(rest, "more character")}`) : null);
  };
  const buttons = choices.map(([words, value], at) => {
    const button = h("button", { type: "button", class: "plain", "aria-pressed": String(!at), onclick: () => {
      buttons.forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
      pick(value);
    } }, words);
    return button;
  });
  pick(lines);
  const copy = h("button", { type: "button", class: "plain", onclick: () => copyText(text) }, icon("copy"), "Copy");
  return h("div", { class: "text-box" }, h("div", { class: "text-bar" }, h("h3", null, label), h("div", { class: "actions" }, buttons, copy)), shown, more);
}

/** Put a text into the clipboard. */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast("Copied.", "info");
  } catch {
    toast("The browser does not let this page copy.", "bad");
  }
}

function isJson(text) {
  return /^\s*[[{]/.test(text.slice(0, 100));
}

/** Return JSON with line breaks. Its values stay as they are, unlike after JSON.parse, which rounds numbers. */
export function indented(text) {
  const parts = [];
  let depth = 0;
  const line = () => `\n${"  ".repeat(Math.min(depth, LEVELS_MAX))}`;
  const token = /"(?:[^"\\]+|\\.)*"?|[[\]{},:]|[^\s"[\]{},:]+/gs;
  let before = "";
  for (const [found] of text.matchAll(token)) {
    if (found === "}" || found === "]") {
      depth -= 1;
      parts.push(before === "{" || before === "[" ? found : line() + found);
    } else {
      if (before === "{" || before === "[" || before === ",") parts.push(line());
      if (found === "{" || found === "[") depth += 1;
      parts.push(found === ":" ? ": " : found);
    }
    before = found;
  }
  return parts.join("");
}
