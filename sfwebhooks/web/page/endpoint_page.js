/* One endpoint: its live state and what to do, its settings and their meaning, a test, and what operators do with it. */

import { ago, api, badge, failure, fill, h, icon, live, moment, notice, number, setTitle, toast, words } from "./app.js";
import { endpointActions } from "./endpoint_actions.js";
import { EndpointForm, formBasis } from "./endpoint_form.js";
import { pastParts } from "./endpoint_past.js";
import { testPart } from "./endpoint_test.js";
import { meaningOf } from "./form_field.js";
import { readWebhook, stateOf } from "./webhooks.js";
import { facts, part, reasonWords, stateReason, tiles } from "./words.js";

/** Draw an endpoint; returns what ends that. */
export async function renderOne(main, name) {
  let shown = await readWebhook(name);
  let status = stateOf(shown.webhook);
  let form = null;
  setTitle(name);

  const heading = h("div", { class: "endpoint-head" });
  const now = part("Now");
  const settings = part("Settings");
  const actions = endpointActions({ shown: () => shown, status: () => status, reread, edit });
  const test = testPart(name);
  const past = pastParts(name);
  const editing = h("div");
  const overview = h("div", { class: "main-and-side" },
    h("div", { class: "stack" }, now.element, test.element, past.elements), h("div", { class: "stack" }, settings.element));
  fill(
    main,
    h("p", { class: "back" }, h("a", { href: "/endpoints" }, icon("back"), "Endpoints")),
    heading,
    editing,
    overview,
  );

  function draw() {
    const { webhook } = shown;
    fill(
      heading,
      h("div", { class: "page-head" }, h("div", { class: "title" }, h("h1", { tabindex: -1 }, name), badge(status.state)), actions.element),
      h("p", { class: "muted" }, [webhook.format, status.to || webhook.url, webhook.description].filter(Boolean).join(" · ")),
    );
    actions.draw(Boolean(form));
    drawNow();
  }

  function drawNow() {
    now.show(stateNotice(status), tiles(figures(name, status)), facts(details(status)));
  }

  async function reread() {
    shown = await readWebhook(name);
    status = stateOf(shown.webhook);
    draw();
    if (!form) await drawSettings();
  }

  async function drawSettings() {
    const { items } = await api("GET", "/v1/options");
    settings.show(settingsList(shown.webhook, new Map(items.map((one) => [one.name, one]))));
  }

  async function edit() {
    if (form) return form.focus();
    try {
      const [basis, newest] = await Promise.all([formBasis(), readWebhook(name)]);
      shown = newest;
      form = new EndpointForm(basis, newest, { onSaved: saved, onCancel: close });
      fill(editing, form.element);
      overview.hidden = true;
      actions.draw(true);
      form.focus();
    } catch (problem) {
      toast(problem.message, "bad");
    }
    return undefined;
  }

  async function saved(newest) {
    shown = newest;
    toast("Saved. Senders and running scans use it within seconds.");
    await close();
  }

  async function close() {
    form = null;
    fill(editing);
    overview.hidden = false;
    await reread().catch((problem) => settings.show(failure(problem)));
    heading.querySelector("[data-edit]")?.focus();
  }

  draw();
  await drawSettings();
  past.begin();
  const take = ({ endpoints }) => {
    const found = endpoints.find((one) => one.endpoint === name);
    if (!found) return;
    const isOther = found.state !== status.state;
    status = found;
    if (isOther) draw();
    else drawNow();
  };
  const ends = [live("status", take), live("connected", () => void reread().catch(() => {}))];
  return () => {
    ends.forEach((end) => end());
    past.end();
  };
}

/** Return what is the matter, in words, with what to do. */
function stateNotice(status) {
  const why = stateReason(status) || status.why || "";
  const isPaused = status.state === "paused";
  if (!status.needs_attention && !isPaused && status.state !== "off") {
    return status.waiting && status.why ? h("p", null, words(status.why, status.endpoint)) : null;
  }
  const tone = status.needs_attention ? "bad" : "info";
  return notice(tone,
    why ? h("p", null, words(why, status.endpoint)) : null,
    status.needs_attention && status.what_to_do ? h("p", null, h("strong", null, "What to do: "), words(status.what_to_do, status.endpoint)) : null);
}

function figures(name, status) {
  const query = `endpoint=${encodeURIComponent(name)}`;
  const link = (value, path) => (value ? h("a", { href: path }, number(value)) : "0");
  return [
    ["Waiting", link(status.waiting ?? 0, `/deliveries?${query}&state=waiting`),
      status.oldest_accepted_at ? ["oldest ", ago(status.oldest_accepted_at)] : null],
    ["Dead letters", link(status.dead, `/dead?${query}`)],
    ["Last success", ago(status.last_success_at) || "never"],
    ["Last error", status.last_error ? ago(status.last_error.at) : "none", reasonWords(status.last_error?.reason)],
  ];
}

function details(status) {
  const { sender, last_error: error } = status;
  return [
    ["Since", ["ready", "paused"].includes(status.state) ? "" : moment(status.since)],
    ["Next probe", ago(status.next_probe_at)],
    ["Refused", status.refused ? `${number(status.refused)} of the waiting ones` : ""],
    ["Next attempt", status.state === "ready" && Date.parse(status.due_at) > Date.now() ? ago(status.due_at) : ""],
    ["Rate", status.rate],
    ["Sender", sender ? `${sender.kind.replaceAll("_", " ")} (process ${sender.pid})${sender.hangs ? ", inactive" : ""}` : ""],
    ["Reply at last error", error?.excerpt ? h("pre", { class: "excerpt", tabindex: "0" }, error.excerpt) : ""],
  ];
}

/** Return the keys with their values and meaning, those of the guide first. */
function settingsList(webhook, options) {
  const { settings } = webhook;
  const events = Array.isArray(webhook.events) ? webhook.events.join(", ") : webhook.events;
  const first = { url: webhook.url, format: webhook.format, events, secret: webhook.secret_set ? "***" : "" };
  const rows = Object.entries({ ...first, ...settings, enabled: webhook.active ? "" : "false" });
  const meaning = (key) => {
    const option = options.get(key) ?? options.get(`${key.split(".", 1)[0]}.`);
    return option ? meaningOf(option) : "";
  };
  const list = h("dl", { class: "settings" }, rows.filter(([key, value]) => value && key !== "description").map(([key, value]) => h("div", null,
    h("dt", null, h("code", null, key)),
    h("dd", null, h("div", { class: "value" }, value === "***" ? h("span", { class: "muted" }, "set, never shown") : value), h("div", { class: "help" }, meaning(key))))));
  return [webhook.mistake ? notice("bad", h("p", null, h("strong", null, "Mistake: "), webhook.mistake)) : null, list];
}
