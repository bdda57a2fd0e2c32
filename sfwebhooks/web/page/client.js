/* The API's client: a method and a path come in, JSON or an ApiProblem goes out. */

/** What the server says of who is signed in: role, csrf, version, read_only, delivers, ui_url; without one, role is "". */
export const session = { role: "", csrf: "", version: "", read_only: false, delivers: false, ui_url: "" };

/** Told when the session has ended. */
const ended = new Set();

/** An answer that is not a success: problem+json, or no answer at all (status 0). */
export class ApiProblem extends Error {
  constructor(status, problem = {}) {
    super(problem.detail || problem.title || `HTTP ${status}`);
    this.status = status;
    this.title = problem.title ?? `HTTP ${status}`;
    this.detail = problem.detail ?? "";
    /** [{where, message}] of a form's fields */
    this.errors = problem.errors ?? [];
    this.problem = problem;
  }
}

/** Return whether who is signed in may change anything here. */
export function mayChange() {
  return session.role === "operator" && !session.read_only;
}

/** Call a function when the session has ended; returns what takes that back. */
export function onSessionEnd(callback) {
  ended.add(callback);
  return () => ended.delete(callback);
}

/** Call the API and return its JSON; null where the answer has no body. */
export async function api(method, path, body, options) {
  return (await request(method, path, body, options)).body;
}

/**
 * Call the API and return {status, headers, body}.
 *
 * @param options headers: more of them, such as If-Match; signal: ends the call; quiet: a 401 does not end the session
 * @throws ApiProblem
 */
export async function request(method, path, body, { headers = {}, signal, quiet = false } = {}) {
  const sent = { Accept: "application/json", ...headers };
  if (body !== undefined) sent["Content-Type"] = "application/json";
  if (method !== "GET" && session.csrf) sent["X-CSRF-Token"] = session.csrf;
  const given = { method, headers: sent, signal, credentials: "same-origin", cache: "no-store" };
  if (body !== undefined) given.body = JSON.stringify(body);
  let response;
  try {
    response = await fetch(path, given);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiProblem(0, { title: "The server does not answer", detail: "is sfwebhooks web still running?" });
  }
  const answer = await jsonOf(response);
  if (response.ok) return { status: response.status, headers: response.headers, body: answer };
  if (response.status === 401 && !quiet) endSession();
  throw new ApiProblem(response.status, answer ?? { title: response.statusText });
}

async function jsonOf(response) {
  const text = await response.text();
  if (!text) return null;
  try {
    return JSON.parse(text);
  } catch {
    return response.ok ? text : null;
  }
}

/** Read who is signed in; returns whether somebody is. */
export async function loadSession() {
  try {
    Object.assign(session, await api("GET", "/v1/session", undefined, { quiet: true }));
  } catch (problem) {
    if (problem.status !== 401) throw problem;
    session.role = "";
  }
  return Boolean(session.role);
}

/** Sign in with {token} or {link}. */
export async function signIn(given) {
  await api("POST", "/v1/session", given, { quiet: true });
  return loadSession();
}

/** Sign out here and at the server. */
export async function signOut() {
  await api("DELETE", "/v1/session", undefined, { quiet: true }).catch((problem) => {
    if (problem.status !== 401) throw problem;
  });
  endSession();
}

/** Forget the session: the server does not know it any more. */
export function endSession() {
  Object.assign(session, { role: "", csrf: "" });
  for (const callback of ended) callback();
}
