/* One key of an endpoint in a form: its input, what it was, and what is to be sent of it. Secrets are typed into password
 * fields, and never come back. */

import { h } from "./app.js";

const MULTILINE = new Set(["events", "data_match", "data_not_match", "redact", "template"]);
/** Files of the machine that sends: the API lets nobody name one. */
const FILES = new Set(["ca_bundle", "client_cert", "client_key"]);
const LABELS = { id: "Name", url: "URL", events: "Events", secret: "Secret", format: "Format", description: "Description" };
/** The words in which the API says that a key has only some values: one of a, b. / a, b or c. */
const CHOICES = /^expected (?:one of ([\w-]+(?:, [\w-]+)*)|((?:[\w-]+, )*[\w-]+) or ([\w-]+))\.?$/;

let made = 0;

/** Return the only values of a key; undefined: it has others. */
function choicesOf({ accepted }) {
  const [, several, first, last] = CHOICES.exec(accepted ?? "") ?? [];
  if (several) return several.split(", ");
  return first ? [...first.split(", "), last] : undefined;
}

/** Return what a key means, without the values that its input offers. */
export function meaningOf(option) {
  const { meaning } = option;
  const list = `: ${choicesOf(option)?.join(", ")}`;
  return meaning.endsWith(list) ? meaning.slice(0, -list.length) : meaning;
}

/** Return whether a key names a file of the machine that sends. */
export function isFile(key) {
  return FILES.has(key);
}

/** A key with its input. */
export class Field {
  /**
   * @param option as the API has it: name, meaning, default, accepted, secret
   * @param present the stored value; undefined: there is none
   */
  constructor(option, present) {
    this.key = option.name;
    this.option = option;
    this.id = `key-${(made += 1)}`;
    this.isSet = present !== undefined && present !== null && present !== "";
    this.before = option.secret || !this.isSet ? "" : String(present);
    const choices = option.secret ? undefined : choicesOf(option);
    this.input = choices ? this.select(choices) : this.typed();
    /** All inputs of the key, one for each line of its value. */
    this.inputs = [this.input];
    this.error = h("p", { class: "error", id: `${this.id}-error` });
    this.tools = h("div", { class: "field-tools" });
    if (option.secret) this.addShow();
    if (option.secret && this.isSet && this.key !== "url") this.addRemove();
    this.element = this.row();
  }

  /** Its name in the form. */
  get label() {
    return LABELS[this.key] ?? this.key;
  }

  /** What is to be sent; undefined: it is unchanged, null: it is to be removed. */
  get change() {
    if (this.removed?.checked) return null;
    const value = this.inputs.map((input) => input.value.trim()).filter(Boolean).join("\n");
    if (value === this.before.trim()) return undefined;
    return value === "" ? null : value;
  }

  /** Put a text into the input, as if it was typed. */
  set(value) {
    this.input.value = value;
    this.input.dispatchEvent(new Event("input", { bubbles: true }));
  }

  /** Take another value for the stored one; an input that was not changed gets it too. */
  rebase(present) {
    const isChanged = this.change !== undefined;
    this.isSet = present !== undefined && present !== null && present !== "";
    if (this.option.secret) return;
    this.before = this.isSet ? String(present) : "";
    if (!isChanged) this.set(this.before);
  }

  /** Show what is wrong with the value. */
  fail(message) {
    this.error.textContent = message;
    this.input.setAttribute("aria-invalid", "true");
    const folded = this.element.closest("details");
    if (folded) folded.open = true;
  }

  /** Remove what `fail` shows. */
  clear() {
    this.error.textContent = "";
    this.input.removeAttribute("aria-invalid");
  }

  get attributes() {
    return { id: this.id, name: this.key, autocomplete: "off", "aria-describedby": `${this.id}-help ${this.id}-error` };
  }

  select(choices) {
    const known = !this.before || choices.includes(this.before) ? choices : [this.before, ...choices];
    const usual = choices.includes(this.option.default) ? `${this.option.default} (default)` : "not set";
    const input = h("select", this.attributes, h("option", { value: "" }, usual), known.map((one) => h("option", { value: one }, one)));
    input.value = this.before;
    return input;
  }

  typed() {
    const about = { ...this.attributes, spellcheck: "false", autocapitalize: "off", readonly: FILES.has(this.key) };
    if (this.option.secret) {
      return h("input", { ...about, type: "password", placeholder: this.isSet ? "set; type a new one to replace it" : null });
    }
    about.placeholder = this.option.default || null;
    return MULTILINE.has(this.key)
      ? h("textarea", { ...about, rows: "2", value: this.before })
      : h("input", { ...about, type: "text", value: this.before });
  }

  /** What the key means, and what its value may be. */
  get help() {
    if (FILES.has(this.key)) return `A file of the machine that sends: sfwebhooks update NAME --set ${this.key}=PATH`;
    const { accepted, default: usual } = this.option;
    const isUnclear = accepted?.startsWith("expected ") && !usual && this.input.tagName !== "SELECT";
    return isUnclear ? `${meaningOf(this.option)}; ${accepted.replace(/\.$/, "")}` : meaningOf(this.option);
  }

  row() {
    return h("div", { class: "field" },
      h("label", { for: this.id }, LABELS[this.key] ?? h("code", null, this.key)),
      h("div", { class: "field-input" }, this.input, this.tools),
      h("p", { class: "help", id: `${this.id}-help` }, this.help),
      this.error);
  }

  addShow() {
    const button = h("button", { type: "button", "aria-pressed": "false", "aria-label": `Show ${this.key}` }, "Show");
    this.show = (isShown) => {
      for (const input of this.inputs) input.type = isShown ? "text" : "password";
      button.setAttribute("aria-pressed", String(isShown));
      button.textContent = isShown ? "Hide" : "Show";
      button.setAttribute("aria-label", `${button.textContent} ${this.key}`);
    };
    button.addEventListener("click", () => this.show(this.input.type === "password"));
    this.tools.append(button);
  }

  /** Add an input for a further line of the value. */
  addLine() {
    const about = { ...this.attributes, id: null, spellcheck: "false", autocapitalize: "off", type: this.input.type };
    const label = `${LABELS[this.key] ?? this.key} ${this.inputs.length + 1}`;
    const input = h("input", { ...about, class: "line", "aria-label": label, disabled: this.input.disabled });
    this.tools.before(input);
    this.inputs.push(input);
    input.focus();
  }

  addRemove() {
    this.removed = h("input", { type: "checkbox" });
    this.removed.addEventListener("change", () => {
      for (const input of this.inputs) {
        input.disabled = this.removed.checked;
        if (this.removed.checked) input.value = "";
      }
    });
    this.tools.append(h("label", { class: "check" }, this.removed, "Remove"));
  }
}
