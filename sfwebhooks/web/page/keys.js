/* Keyboard shortcuts. Those of one letter can be switched off (WCAG 2.1.4), since speech input types letters. */

import { dialog } from "./dialogs.js";
import { h } from "./dom.js";

/** Letter after g -> [path, words]. */
const PLACES = {
  o: ["/", "Overview"],
  d: ["/deliveries", "Deliveries"],
  l: ["/dead", "Dead letters"],
  e: ["/endpoints", "Endpoints"],
  s: ["/scans", "Scans"],
};
/** Milliseconds between g and its letter. */
const TOGETHER = 1_000;
const WRITES = "input:not([type=checkbox], [type=radio], [type=button]), textarea, select, [contenteditable]";

/** Return whether single keys are shortcuts. */
export function keysAreOn() {
  try {
    return localStorage.getItem("keys") !== "off";
  } catch {
    return true;
  }
}

/** Listen for shortcuts; `go` opens a path. */
export function listenForKeys(go) {
  let prefixAt = 0;
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || !keysAreOn()) return;
    if (event.target.closest?.(WRITES) || document.querySelector("dialog[open]")) return;
    const isAfter = event.timeStamp - prefixAt < TOGETHER && prefixAt;
    prefixAt = 0;
    const place = isAfter && !document.getElementById("pages").hidden ? PLACES[event.key] : null;
    if (place) void go(place[0]);
    else if (event.key === "g") prefixAt = event.timeStamp;
    else if (event.key === "?") void showKeys();
    else if (event.key === "/") focusFilter(event);
  });
}

function focusFilter(event) {
  const filter = document.querySelector("main [data-filter]");
  if (!filter) return;
  event.preventDefault();
  filter.focus();
  filter.select?.();
}

/** Show the shortcuts. */
export function showKeys() {
  const row = (keys, words) =>
    h(
      "div",
      { class: "pair" },
      h(
        "dt",
        null,
        keys.map((key) => h("kbd", null, key)),
      ),
      h("dd", null, words),
    );
  return dialog("Keyboard shortcuts", (close) => {
    const box = h("input", { type: "checkbox", checked: keysAreOn() });
    box.addEventListener("change", () => {
      try {
        localStorage.setItem("keys", box.checked ? "on" : "off");
      } catch {
        // storage is blocked in this browser: the shortcuts stay on
      }
    });
    const list = h(
      "dl",
      { class: "keys" },
      row(["/"], "Go to the filter"),
      row(["?"], "Show these shortcuts"),
      row(["Esc"], "Close a dialog; back to the list"),
      row(["j", "k"], "Along a list, or to the next delivery and the one before"),
      row(["x"], "Select a dead letter"),
      Object.entries(PLACES).map(([letter, [, words]]) => row(["g", letter], words)),
    );
    const button = h("button", { type: "button", class: "primary", onclick: () => close(null) }, "Close");
    return { body: [list, h("label", { class: "check" }, box, "Shortcuts of single keys")], buttons: [button] };
  });
}
