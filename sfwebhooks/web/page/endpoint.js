/* The endpoints' part of the page: the list, a new one, or one of them with its live state, its settings and its past. */

import { fill, go, h, icon, mayChange, notice, pageHead, setTitle, toast } from "./app.js";
import { EndpointForm, formBasis } from "./endpoint_form.js";
import { renderOne } from "./endpoint_page.js";
import { renderList } from "./endpoints.js";
import { NEW, endpointPath } from "./webhooks.js";
import { styled } from "./words.js";

/** Draw what an address means; returns what ends it. */
export async function render(main, { id }) {
  await styled("endpoints.css");
  if (!id) return renderList(main);
  return id === NEW ? renderNew(main) : renderOne(main, id);
}

async function renderNew(main) {
  setTitle("New endpoint");
  const back = h("p", { class: "back" }, h("a", { href: "/endpoints" }, icon("back"), "Endpoints"));
  if (!mayChange()) {
    fill(main, back, pageHead("New endpoint"), notice("info", "Only an operator can create endpoints."));
    return null;
  }
  const form = new EndpointForm(await formBasis(), null, {
    onSaved: ({ webhook }) => {
      toast(`${webhook.id} was created: send it a test message.`);
      void go(endpointPath(webhook.id), { replace: true });
    },
    onCancel: () => go("/endpoints"),
  });
  fill(main, back, pageHead("New endpoint"), form.element);
  return null;
}
