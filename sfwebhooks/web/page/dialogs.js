/* Dialogs, toasts and announcements: questions to the operator, and short answers. */

import { failure, fill, h, icon } from "./dom.js";

/** Milliseconds for which a toast is shown; one with a problem stays until it is closed. */
const TOAST = 6_000;
/** Toasts at once. */
const TOASTS_MAX = 3;

/**
 * Open a dialog; resolves when it is closed, to what `close` was given, or null after Esc.
 *
 * @param build close => {body, buttons}: nodes
 */
export function dialog(title, build, { wide = false } = {}) {
  return new Promise((resolve) => {
    const heading = h("h2", { id: `dialog-${(dialog.number = (dialog.number ?? 0) + 1)}` }, title);
    const box = h("dialog", { "aria-labelledby": heading.id, class: wide ? "wide" : null });
    const before = document.activeElement;
    let result = null;
    const close = (value) => {
      result = value;
      box.close();
    };
    const { body, buttons } = build(close);
    fill(box, heading, h("div", { class: "dialog-body" }, body), h("div", { class: "dialog-buttons" }, buttons));
    box.addEventListener("click", (event) => event.target === box && close(null));
    box.addEventListener("close", () => {
      box.remove();
      before?.isConnected && before.focus();
      resolve(result);
    });
    document.body.append(box);
    box.showModal();
  });
}

/**
 * Ask before something is done; resolves to whether it was.
 *
 * @param body text or nodes: what it will do
 * @param action its label, or {label, danger, run}: `run` is awaited while the dialog is open, and its problem shown
 */
export async function confirmDialog({ title, body, action, cancel = "Cancel" }) {
  const { label, danger = false, run } = typeof action === "string" ? { label: action } : action;
  const done = await dialog(title, (close) => {
    const trouble = h("div");
    const button = h("button", { type: "button", class: danger ? "danger" : "primary" }, label);
    button.addEventListener("click", async () => {
      if (!run) return close(true);
      button.disabled = true;
      button.setAttribute("aria-busy", "true");
      try {
        await run();
        close(true);
      } catch (problem) {
        fill(trouble, failure(problem));
        button.disabled = false;
        button.removeAttribute("aria-busy");
      }
    });
    const back = h("button", { type: "button", onclick: () => close(null), autofocus: danger }, cancel);
    return { body: [typeof body === "string" ? h("p", null, body) : body, trouble], buttons: [back, button] };
  });
  return done === true;
}

/** Show a short answer for a moment; tone is ok, info or bad. */
export function toast(text, tone = "ok") {
  const place = document.getElementById("toasts");
  const shape = tone === "bad" ? "alert" : tone === "info" ? "info" : "check";
  const close = h(
    "button",
    { type: "button", class: "plain", "aria-label": "Close", onclick: () => box.remove() },
    icon("cross"),
  );
  const box = h("div", { class: `toast ${tone}` }, icon(shape), h("span", null, text), close);
  while (place.children.length >= TOASTS_MAX) place.firstElementChild.remove();
  place.append(box);
  if (tone !== "bad") setTimeout(() => box.remove(), TOAST);
}

/** Have a screen reader say something when it is done with what it says. */
export function announce(text) {
  const place = document.getElementById("announcer");
  if (place.textContent !== text) place.textContent = text;
}
