/* The form of an endpoint: a new one, or changes of one. Only what was changed is sent, with the ETag of the version that
 * is shown, so that nobody's change is lost; what the API refuses is shown at its field. */

import { amount, api, fill, h, notice } from "./app.js";
import { eventPicker, namesIn } from "./event_picker.js";
import { Field, isFile } from "./form_field.js";
import { changeWebhook, createWebhook, readWebhook } from "./webhooks.js";

/** The fields of the guide, which are not below `settings`. */
const TOP = new Set(["id", "url", "events", "secret", "description", "format"]);
/** Heading of a group, its keys that are always shown, and those that are folded. */
const GROUPS = [
  ["Where to", ["url", "format", "description"], []],
  ["What it gets", ["events", "min_severity"], ["finding_types", "min_confidence", "modules", "targets", "data_match",
    "data_not_match", "include_raw", "only_new", "baseline", "only_if_changed"]],
  ["Signature and authentication", ["secret"], ["auth", "api_key", "auth_header", "username", "password", "token_url",
    "client_id", "client_secret", "scope", "header.", "proof", "proof_after"]],
  ["Content", [], ["redact", "redact_key", "max_data", "max_body", "ui_url", "web_url", "metadata."]],
  ["Pace, retries and batches", [], ["timeout", "rate", "concurrency", "retry_schedule", "max_retries", "retry_delay",
    "retry_after_max", "max_age", "digest", "batch_size", "batch_max_bytes", "batch_wait", "compress", "fallback"]],
  ["TLS and network", [], ["verify_tls", "ca_bundle", "client_cert", "client_key", "client_key_password", "proxy",
    "allow_private", "source_address"]],
];
const NAME = {
  name: "id",
  meaning: "In listings and messages: up to 64 of A-Z, a-z, 0-9, _ and -. Without one it follows from the URL.",
};
const SECRET_BYTES = 24;
/** The place of a mistake in an error's text: [webhooks.NAME] key. */
const PLACE = /\[webhooks(?:\.[^\]]*)?\] ([\w.-]+)/;

/** Read what a form needs to know besides the endpoint: {options, types}. */
export async function formBasis() {
  const [options, types] = await Promise.all(["options", "events"].map((name) => api("GET", `/v1/${name}`)));
  return { options: options.items, types: types.items };
}

/** The form. */
export class EndpointForm {
  /**
   * @param basis of `formBasis`
   * @param shown {webhook, etag} of the endpoint; null: it is a new one
   * @param after onSaved gets {webhook, etag}; onCancel
   */
  constructor(basis, shown, { onSaved, onCancel }) {
    this.basis = basis;
    this.shown = shown;
    this.onSaved = onSaved;
    this.fields = new Map();
    /** Makes a request to create it harmless that is sent twice. */
    this.once = crypto.getRandomValues(new Uint32Array(4)).join("-");
    this.problem = h("div", { class: "form-problem", tabindex: -1 });
    this.save = h("button", { type: "submit", class: "primary" }, shown ? "Save changes" : "Create endpoint");
    this.element = h("form", { class: "endpoint-form", novalidate: true, autocomplete: "off" },
      this.groups(),
      this.problem,
      h("div", { class: "form-buttons" }, this.save, h("button", { type: "button", onclick: onCancel }, "Cancel")));
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.submit();
    });
    this.complete();
  }

  /** Go to the first field. */
  focus() {
    this.element.querySelector("input, textarea, select")?.focus();
  }

  // --- its parts

  present(key) {
    const webhook = this.shown?.webhook;
    if (!webhook) return undefined;
    if (key === "secret") return webhook.secret_set ? "***" : undefined;
    if (key === "events") return namesIn(webhook.events).join(", ");
    return TOP.has(key) ? webhook[key] ?? undefined : webhook.settings[key];
  }

  field(option) {
    const made = new Field(option, this.present(option.name));
    this.fields.set(made.key, made);
    return made.element;
  }

  groups() {
    const options = new Map(this.basis.options.map((option) => [option.name, option]));
    options.delete("enabled");
    const grouped = new Set(GROUPS.flatMap(([, always, folded]) => [...always, ...folded]));
    const others = [...options.keys()].filter((key) => !grouped.has(key) && !key.endsWith("."));
    const [first, ...groups] = GROUPS.map((group) => this.group(group, options));
    if (!this.shown) first.querySelector("legend").after(this.field(NAME));
    return [first, this.ofFormat(others.map((key) => options.get(key))), groups];
  }

  /** Return the group of the keys that only some formats have; it shows those of the chosen one, open if it needs any. */
  ofFormat(options) {
    const summary = h("summary");
    const details = h("details", null, summary, h("div", { class: "fields" }, options.map((option) => this.field(option))));
    const element = h("fieldset", null, h("legend", { class: "unseen" }, "Keys of the format"), details);
    const { input } = this.fields.get("format");
    const isSet = (option) => this.present(option.name) !== undefined;
    const follow = () => {
      const shown = options.filter((option) => option.formats.includes(input.value) || !option.formats.length || isSet(option));
      for (const option of options) this.fields.get(option.name).element.hidden = !shown.includes(option);
      fill(summary, `Keys of the format (${amount(shown.length, "key")})`);
      details.open = shown.some((option) => option.needed_by.includes(input.value) || isSet(option));
      element.hidden = !shown.length;
    };
    input.addEventListener("input", follow);
    follow();
    return element;
  }

  group([heading, always, folded], options) {
    const isShown = (key) => options.has(key) && !key.endsWith(".") && (!isFile(key) || this.present(key) !== undefined);
    const draw = (key) => this.field(options.get(key));
    const first = always.filter(isShown).map(draw);
    const keys = folded.filter(isShown);
    const open = folded.filter((key) => key.endsWith(".") && options.has(key));
    const named = open.flatMap((stem) => Object.keys(this.shown?.webhook.settings ?? {}).filter((key) => key.startsWith(stem)).map((key) => ({ ...options.get(stem), name: key })));
    const more = [...keys.map(draw), ...named.map((option) => this.field(option)), ...open.map((stem) => this.adder(options.get(stem)))];
    if (!first.length && !more.length) return null;
    const isSet = named.length > 0 || keys.some((key) => this.present(key) !== undefined);
    const title = first.length ? `More (${amount(more.length, "key")})` : `${heading} (${amount(more.length, "key")})`;
    const rest = more.length ? h("details", { open: isSet }, h("summary", null, title), h("div", { class: "fields" }, more)) : null;
    return h("fieldset", null, h("legend", { class: first.length ? null : "unseen" }, heading), first, rest);
  }

  /** Return what adds a key that ends in a name of the operator's own, such as header.X-Team. */
  adder(option) {
    const name = h("input", { type: "text", "aria-label": `Name of a new key ${option.name}NAME`, placeholder: "NAME", spellcheck: "false", autocomplete: "off" });
    const place = h("div", { class: "fields" });
    const add = () => {
      const key = `${option.name}${name.value.trim()}`;
      if (key === option.name) return name.focus();
      if (!this.fields.has(key)) place.append(this.field({ ...option, name: key }));
      name.value = "";
      return this.fields.get(key).input.focus();
    };
    name.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      add();
    });
    return h("div", { class: "adder" }, place,
      h("div", { class: "field" }, h("span", { class: "label" }, h("code", null, option.name)),
        h("div", { class: "field-input" }, name, h("button", { type: "button", onclick: add }, "Add")),
        h("p", { class: "help" }, option.meaning)));
  }

  /** Add what only some fields have. */
  complete() {
    const [url, format, secret, events] = ["url", "format", "secret", "events"].map((key) => this.fields.get(key));
    const place = h("p", { class: "help", "aria-live": "polite" });
    url.element.append(place);
    url.input.addEventListener("input", () => fill(place, placeWords(url.input.value)));
    if (this.shown) url.input.placeholder = `${this.shown.webhook.url}; type a new one to replace it`;
    else format.input.options[0].textContent = "by the host of the URL, else generic";
    const copied = h("p", { class: "help", role: "status" });
    secret.element.append(copied);
    secret.tools.prepend(h("button", { type: "button", onclick: () => {
      secret.set(newSecret());
      secret.show(true);
      secret.input.select();
      copied.textContent = "Copy it for the receiver now: it is not shown again once it is saved.";
    } }, "Generate"));
    secret.tools.append(h("button", { type: "button", onclick: () => secret.addLine() }, "Add another secret"));
    events.element.append(eventPicker(events, this.basis.types));
  }

  // --- what is sent, and what comes back

  get values() {
    const found = {};
    for (const [key, { change }] of this.fields) {
      if (change === undefined) continue;
      if (key === "events" && change !== null) found.events = namesIn(change);
      else if (TOP.has(key)) found[key] = change;
      else (found.settings ??= {})[key] = change;
    }
    return found;
  }

  async submit() {
    const { values } = this;
    fill(this.problem);
    this.fields.forEach((field) => field.clear());
    if (this.shown && !Object.keys(values).length) return this.say("info", h("p", null, "Nothing was changed."));
    if (!this.shown && !values.url) return this.fail([{ where: "url", message: "the URL is missing" }]);
    this.save.disabled = true;
    this.save.setAttribute("aria-busy", "true");
    try {
      await this.onSaved(this.shown ? await changeWebhook(this.shown, values) : await createWebhook(values, this.once));
    } catch (problem) {
      if (problem.status === undefined) throw problem;
      if (problem.status === 412) await this.merge();
      else this.fail(problem.errors.length ? problem.errors : [{ where: "", message: problem.message }]);
    } finally {
      this.save.disabled = false;
      this.save.removeAttribute("aria-busy");
    }
    return undefined;
  }

  say(tone, ...children) {
    fill(this.problem, notice(tone, children));
  }

  /** Show mistakes: each at its field, if it names one. */
  fail(errors) {
    const places = errors.map(({ where, message }) => [this.fields.get(keyOf(where)) ?? this.fields.get(keyOf(message)), where, message]);
    for (const [field, , message] of places) field?.fail(message);
    const others = places.filter(([field]) => !field).map(([, where, message]) => h("p", null, where ? `${where}: ${message}` : message));
    const first = places.find(([field]) => field)?.[0];
    const marked = places.filter(([field]) => field).map(([field]) => field.label);
    this.say("bad", h("p", null, h("strong", null, "Nothing was saved."), marked.length ? ` Marked above: ${marked.join(", ")}` : ""), others);
    (first?.input ?? this.problem).focus();
  }

  /** Somebody else changed it: show what, and put that into the form next to what was typed. */
  async merge() {
    const before = this.shown.webhook;
    try {
      this.shown = await readWebhook(before.id);
    } catch (problem) {
      const words = problem.status === 404 ? "somebody else deleted this endpoint after you opened it." : problem.message;
      this.say("bad", h("p", null, h("strong", null, "Nothing was saved: "), words));
      return;
    }
    const mine = new Set([...this.fields.values()].filter((field) => field.change !== undefined).map((field) => field.key));
    const others = differences(before, this.shown.webhook);
    for (const [key, field] of this.fields) field.rebase(this.present(key));
    for (const [key, , now] of others) {
      if (mine.has(key)) this.fields.get(key)?.fail(`Somebody else made this ${now || "empty"}. Saving replaces it with yours.`);
    }
    const rows = others.map(([key, was, now]) => h("li", null, h("code", null, key), `: ${was || "not set"} → ${now || "not set"}`));
    this.say("warn",
      h("p", null, h("strong", null, "Nothing was saved: somebody else changed this endpoint after you opened it.")),
      rows.length ? h("ul", null, rows) : h("p", null, "A secret, or the path of the URL, is another one; neither is shown."),
      h("p", null, "The form has these changes now, and yours. Look at it, and save again."));
    this.problem.focus();
  }
}

/** Return where a typed URL leads, without its path, which is often a secret. */
function placeWords(text) {
  if (!text.trim()) return "";
  try {
    const { protocol, host } = new URL(text.trim());
    if (host && (protocol === "https:" || protocol === "http:")) return `Sends to ${protocol}//${host}${protocol === "http:" ? ", without TLS" : ""}`;
  } catch {
    // not yet
  }
  return "Expected a URL that begins with https:// or http://";
}

function newSecret() {
  return `whsec_${btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(SECRET_BYTES))))}`;
}

/** Return the key that the place of an error, or its text, names. */
function keyOf(text) {
  const found = PLACE.exec(text ?? "");
  return found ? found[1] : String(text ?? "").replace(/^(?:body\.)?(?:settings\.)?/, "").replace(/^events\.\d+$/, "events");
}

/** Return [key, before, now] of each difference of two versions of an endpoint, as far as it is shown. */
function differences(before, now) {
  const [one, other] = [before, now].map((webhook) => ({
    ...webhook.settings,
    url: webhook.url,
    events: namesIn(webhook.events).join(", "),
    description: webhook.description,
    format: webhook.format,
    secret: webhook.secret_set ? "set" : "",
    enabled: String(webhook.active),
  }));
  const keys = new Set([...Object.keys(one), ...Object.keys(other)]);
  return [...keys].filter((key) => (one[key] ?? "") !== (other[key] ?? "")).map((key) => [key, one[key], other[key]]);
}
