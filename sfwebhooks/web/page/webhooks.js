/* Endpoints at the API: read with their version (ETag), created, changed and deleted. */

import { api, request } from "./app.js";

/** In the place of a name, which none can be: the form of a new endpoint. */
export const NEW = "+new";
export const NEW_PATH = `/endpoints/${NEW}`;

/** Return the path of an endpoint's page. */
export function endpointPath(name) {
  return `/endpoints/${encodeURIComponent(name)}`;
}

/** Return the path at the API of an endpoint, or of something below it. */
export function webhookPath(name, below = "") {
  return `/v1/webhooks/${encodeURIComponent(name)}${below}`;
}

/** Return an endpoint's live state; one that cannot be known is unknown. */
export function stateOf({ id, status }) {
  return status ?? { endpoint: id, state: "unknown", needs_attention: false, waiting: 0, dead: 0, reason: "the outbox cannot be read" };
}

/** Return an endpoint with the ETag of this version: {webhook, etag}. */
export async function readWebhook(name) {
  return versionOf(await request("GET", webhookPath(name)));
}

/** Create an endpoint; the key makes a request harmless that is sent twice. */
export async function createWebhook(values, key) {
  return versionOf(await request("POST", "/v1/webhooks", values, { headers: { "Idempotency-Key": key } }));
}

/** Change an endpoint that is still the version of the ETag; else the ApiProblem has the status 412. */
export async function changeWebhook({ webhook, etag }, values) {
  return versionOf(await request("PATCH", webhookPath(webhook.id), values, { headers: { "If-Match": etag } }));
}

/** Delete an endpoint that is still the version of the ETag. */
export async function deleteWebhook({ webhook, etag }) {
  await request("DELETE", webhookPath(webhook.id), undefined, { headers: { "If-Match": etag } });
}

/** Return the items of a listing, at most as many as a page has. */
export async function itemsOf(path) {
  return (await api("GET", path)).items;
}

function versionOf({ body, headers }) {
  return { webhook: body, etag: headers.get("ETag") ?? "" };
}
