/* The live connection: server-sent events come in, callbacks are called, at most once for each frame.
 *
 * It is read with fetch rather than EventSource, which hides both the status of a refusal and the comments by which a
 * connection without events is known to be alive. */

import { endSession } from "./client.js";

/** Milliseconds without a byte after which a connection is dead: the server sends a comment each 15 s. */
const SILENCE = 40_000;
/** Milliseconds until the next attempt: the first one, and the longest. */
const FIRST_RETRY = 1_000;
const LONGEST_RETRY = 30_000;
/** Milliseconds after which a tab in the background gives its connection up: a browser has six for all of them. */
const HIDDEN = 10_000;
/** Characters of an event, and events that wait for a frame; more of them are a fault. */
const EVENT_MAX = 4 << 20;
const QUEUE_MAX = 64;
/** Events of which only the newest counts. */
const NEWEST = new Set(["status"]);

/** state: off, connecting, live, lost or paused (the tab is in the background); times in epoch milliseconds. */
export const connection = { state: "off", heardAt: 0, liveAt: 0, retryAt: 0 };

const callbacks = new Map();
let queue = [];
let frame = 0;
let reading = null;
let retry = FIRST_RETRY;
let timer = 0;
let hiding = 0;

/**
 * Call a function with the data of each event of a name; returns what ends that. Names of our own: "connection", when
 * `connection` has changed, and "connected", when events may have been missed, so that lists have to be read again.
 */
export function live(name, callback) {
  if (!callbacks.has(name)) callbacks.set(name, new Set());
  callbacks.get(name).add(callback);
  return () => callbacks.get(name).delete(callback);
}

/** Connect, and stay connected until `disconnect`. */
export function connect() {
  if (connection.state === "off") void read();
}

/** Connect now if there is no connection. */
export function reconnect() {
  if (connection.state !== "lost" && connection.state !== "paused") return;
  clearTimeout(timer);
  retry = FIRST_RETRY;
  void read();
}

/** End the connection. */
export function disconnect(state = "off") {
  clearTimeout(timer);
  queue = [];
  reading?.abort();
  reading = null;
  turn(state);
}

async function read() {
  const own = new AbortController();
  reading = own;
  if (connection.state !== "lost") turn("connecting");
  let after = 0;
  try {
    const response = await fetch("/v1/stream", { signal: own.signal, headers: { Accept: "text/event-stream" } });
    if (response.status === 401) return endSession();
    after = Number(response.headers.get("Retry-After")) * 1000 || 0;
    if (response.ok && response.body) await listen(response.body, own);
  } catch {
    // refused, cut or silent: all are the same here, another attempt follows
  }
  if (reading !== own) return;
  reading = null;
  const wait = Math.max(after, retry * (0.75 + Math.random() / 2));
  retry = Math.min(retry * 2, LONGEST_RETRY);
  connection.retryAt = Date.now() + wait;
  turn("lost");
  timer = setTimeout(read, wait);
}

async function listen(body, own) {
  const parse = parser((name, data) => enqueue(name, data));
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let silence = setTimeout(() => own.abort(), SILENCE);
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done || reading !== own) return;
      clearTimeout(silence);
      silence = setTimeout(() => own.abort(), SILENCE);
      heard();
      parse(value);
    }
  } finally {
    clearTimeout(silence);
    own.abort();
  }
}

function heard() {
  connection.heardAt = Date.now();
  retry = FIRST_RETRY;
  if (connection.state === "live") return;
  connection.liveAt = connection.heardAt;
  turn("live");
  enqueue("connected", null);
}

/** Return a function that takes a stream's text as it comes and calls another one with each event's name and JSON. */
export function parser(found) {
  let line = "";
  let name = "message";
  let data = [];
  let size = 0;
  const take = (text) => {
    if (!text) {
      if (data.length) found(name, JSON.parse(data.join("\n")));
      [name, data, size] = ["message", [], 0];
    } else if (text.startsWith("event:")) {
      name = text.slice(6).trim();
    } else if (text.startsWith("data:")) {
      data.push(text.slice(text[5] === " " ? 6 : 5));
    }
  };
  return (text) => {
    size += text.length;
    if (size > EVENT_MAX) throw new RangeError("an event is too long");
    const lines = text.split("\n");
    for (let at = 0; at < lines.length - 1; at += 1) {
      const whole = line + lines[at];
      line = "";
      take(whole.endsWith("\r") ? whole.slice(0, -1) : whole);
    }
    line += lines[lines.length - 1];
  };
}

function enqueue(name, data) {
  if (NEWEST.has(name)) queue = queue.filter(([other]) => other !== name);
  else if (queue.length >= QUEUE_MAX) queue.shift();
  queue.push([name, data]);
  frame ||= requestAnimationFrame(deliver);
}

function deliver() {
  frame = 0;
  const events = queue;
  queue = [];
  for (const [name, data] of events) call(name, data);
}

function call(name, data) {
  for (const callback of callbacks.get(name) ?? []) {
    try {
      callback(data);
    } catch (error) {
      console.error(error); // one part of the page must not silence the others
    }
  }
}

function turn(state) {
  connection.state = state;
  call("connection", connection);
}

document.addEventListener("visibilitychange", () => {
  clearTimeout(hiding);
  if (!document.hidden) reconnect();
  else if (connection.state !== "off")
    hiding = setTimeout(() => connection.state === "off" || disconnect("paused"), HIDDEN);
});
addEventListener("online", reconnect);
