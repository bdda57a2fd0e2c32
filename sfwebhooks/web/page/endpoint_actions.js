/* What an operator does with an endpoint: pause, resume, disable, enable, delete, each after saying what that does. */

import { amount, api, confirmDialog, fill, go, h, mayChange, toast } from "./app.js";
import { changeWebhook, deleteWebhook, webhookPath } from "./webhooks.js";

/** Time of a pause -> the same in words. */
const PAUSES = [["30m", "30 minutes"], ["2h", "2 hours"], ["8h", "8 hours"], ["1d", "a day"], ["", "until it is resumed"]];
/** States in which deliveries wait for an operator or a probe. */
const STOPPED = new Set(["failing", "held"]);

/**
 * Return {element, draw}: the buttons, and what brings them up to date, or hides them while something else is done.
 *
 * @param page shown: () => {webhook, etag}; status: () => its live state; reread and edit
 */
export function endpointActions(page) {
  const element = h("div", { class: "actions" });
  const button = (label, onclick, name = null) => h("button", { type: "button", class: name, onclick }, label);

  function draw(isHidden = false) {
    element.hidden = isHidden;
    if (!mayChange()) return;
    const { webhook } = page.shown();
    const { state } = page.status();
    const buttons = [];
    if (state === "paused" || state === "disabled") buttons.push(button(state === "paused" ? "Resume" : "Enable", () => resume(page), "primary"));
    else if (STOPPED.has(state)) buttons.push(button("Send now", () => resume(page), "primary"));
    if (webhook.active && state !== "paused") buttons.push(button("Pause…", () => pause(page)));
    if (state !== "removed") {
      buttons.push(h("button", { type: "button", "data-edit": true, onclick: page.edit }, "Edit"));
      buttons.push(webhook.active ? button("Disable…", () => disable(page)) : button("Enable", () => enable(page), "primary"));
      buttons.push(button("Delete…", () => remove(page), "danger"));
    }
    const focused = element.contains(document.activeElement);
    fill(element, buttons);
    if (focused) element.querySelector("button")?.focus();
  }
  return { element, draw };
}

async function order(page, path, body, words) {
  const name = page.shown().webhook.id;
  await api("POST", webhookPath(name, path), body);
  toast(words);
  await page.reread();
}

async function pause(page) {
  const name = page.shown().webhook.id;
  const choices = PAUSES.map(([value, label], at) => h("label", { class: "check" }, h("input", { type: "radio", name: "for", value, checked: at === 1 }), label));
  const other = h("input", { type: "text", "aria-label": "Another time, such as 45m", placeholder: "such as 45m", autocomplete: "off" });
  const chosen = h("input", { type: "radio", name: "for", value: "other" });
  other.addEventListener("input", () => { chosen.checked = true; });
  const form = h("form", { class: "pause" },
    h("p", null, "Nothing is sent to it meanwhile. Its events are still accepted, and its deliveries are kept."),
    h("fieldset", { class: "choices" }, h("legend", null, "For how long?"), choices, h("div", { class: "check" }, h("label", { class: "check" }, chosen, "for"), other)));
  const time = () => {
    const value = new FormData(form).get("for");
    return value === "other" ? other.value.trim() : value;
  };
  await confirmDialog({
    title: `Pause ${name}`,
    body: form,
    action: { label: "Pause", run: () => {
      const span = time();
      return order(page, "/pause", span ? { for: span } : {}, `${name} is paused.`);
    } },
  });
}

async function resume(page) {
  const name = page.shown().webhook.id;
  await order(page, "/resume", undefined, `${name} is in use again; its deliveries are sent now.`).catch((problem) => toast(problem.message, "bad"));
}

async function disable(page) {
  const { webhook } = page.shown();
  const { waiting = 0 } = page.status();
  const kept = waiting ? `${amount(waiting, "waiting delivery", "waiting deliveries")} ${waiting === 1 ? "is" : "are"} kept until then.` : "";
  await confirmDialog({
    title: `Disable ${webhook.id}`,
    body: `It accepts no events until it is enabled again; what scans find meanwhile is not sent to it later by itself. ${kept}`,
    action: { label: "Disable", run: () => change(page, { active: false }, `${webhook.id} is disabled.`) },
  });
}

async function enable(page) {
  const { webhook } = page.shown();
  await change(page, { active: true }, `${webhook.id} is enabled.`).catch((problem) => toast(problem.message, "bad"));
}

/** Change it, whatever else was changed meanwhile: this is about one key. */
async function change(page, values, words) {
  await page.reread();
  await changeWebhook(page.shown(), values);
  toast(words);
  await page.reread();
}

async function remove(page) {
  await page.reread().catch(() => {});
  const { webhook } = page.shown();
  const { waiting = 0, dead = 0 } = page.status();
  const effects = [
    h("p", null, "Its section is removed from the settings; the version before is kept next to the file. No event is accepted for it any more."),
    waiting ? h("p", null, h("strong", null, `${amount(waiting, "delivery is", "deliveries are")} waiting for it. `),
      "Without the endpoint they are not sent, and become dead letters (endpoint_removed) after 7 days. To send them to another endpoint: ",
      h("code", null, `sfwebhooks move --endpoint ${webhook.id} --to NAME`)) : h("p", null, "No delivery is waiting for it."),
    dead ? h("p", null, `Its ${amount(dead, "dead letter")} can still be listed.`) : null,
  ];
  const done = await confirmDialog({
    title: `Delete ${webhook.id}?`,
    body: effects,
    action: { label: "Delete", danger: true, run: () => deleteWebhook(page.shown()) },
  });
  if (!done) return;
  toast(`${webhook.id} was deleted.`);
  void go("/endpoints", { replace: true });
}
