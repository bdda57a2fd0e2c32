/* The meter: attempts come in as they happen; each endpoint's last five minutes go out, in slots of some seconds. It is
 * read once for the whole page and goes on counting while other pages are shown. */

import { api } from "./client.js";
import { connection, live } from "./live.js";

/** Seconds of a slot, and slots: five minutes. */
const SLOT = 5;
const SLOTS = 60;
const MINUTE = 60 / SLOT;

/** Endpoint -> {delivered, failed: counts by slot, newest last; roughly: whether attempts were left out of the stream}. */
const meters = new Map();
let newest = slotNow();
/** When the server's own counts ended, in epoch milliseconds: attempts before that are in them. */
let countedUntil = 0;

/** When the server was last asked for them, in epoch milliseconds. */
let begunAt = 0;

function slotNow() {
  return Math.floor(Date.now() / 1000 / SLOT);
}

function meterOf(endpoint) {
  if (!meters.has(endpoint)) {
    meters.set(endpoint, { delivered: new Array(SLOTS).fill(0), failed: new Array(SLOTS).fill(0), roughly: 0 });
  }
  return meters.get(endpoint);
}

function advance() {
  const now = slotNow();
  const steps = Math.min(now - newest, SLOTS);
  if (steps <= 0) return;
  newest = now;
  for (const meter of meters.values()) {
    for (const counts of [meter.delivered, meter.failed]) {
      counts.copyWithin(0, steps).fill(0, SLOTS - steps);
    }
    meter.roughly -= steps;
  }
}

function count({ items, missed }) {
  advance();
  // the stream leaves out attempts beyond a hundred a second: the others are counted for them too
  const weight = 1 + (missed ?? 0) / Math.max(items.length, 1);
  for (const item of items.filter((one) => endOf(one) > countedUntil)) {
    const meter = meterOf(item.endpoint);
    const counts = isDelivered(item) ? meter.delivered : meter.failed;
    counts[SLOTS - 1] += weight;
    if (missed) meter.roughly = SLOTS;
  }
}

/** Begin with the last minute as the server has counted it, spread over its slots. */
async function begin() {
  begunAt = Date.now();
  const { items } = await api("GET", "/v1/stats?since=1m");
  advance();
  meters.clear();
  for (const row of items) {
    const meter = meterOf(row.endpoint);
    meter.delivered.fill(row.delivered / MINUTE, -MINUTE);
    meter.failed.fill(row.failed / MINUTE, -MINUTE);
    countedUntil = Date.parse(row.at);
  }
}

/** Return when an attempt ended, in epoch milliseconds. */
export function endOf({ attempt }) {
  return Date.parse(attempt.at) + attempt.seconds * 1000;
}

/**
 * Return whether the attempt of an item delivered it: by its reason, or, since formats have reasons of their own, by its
 * end. A delivery is settled at once, and the next attempt begins a second later or more.
 */
export function isDelivered(item) {
  const isSettled = item.state === "delivered" && Date.parse(item.settled_at) - endOf(item) < 1000;
  return /^http_2\d\d$/.test(item.attempt.reason) || isSettled;
}

/** Return an endpoint's last minute: {delivered, failed, roughly}. */
export function lastMinute(endpoint) {
  advance();
  const { delivered, failed, roughly } = meterOf(endpoint);
  const sum = (counts) => Math.round(counts.slice(-MINUTE).reduce((total, one) => total + one, 0));
  return { delivered: sum(delivered), failed: sum(failed), roughly: roughly > 0 };
}

/** Return an endpoint's counts by slot, newest last. */
export function slots(endpoint) {
  advance();
  return meterOf(endpoint);
}

live("attempts", count);
function beginAgain() {
  begin().catch((problem) => problem.status === undefined && console.error(problem));
}

live("connected", () => begunAt > connection.liveAt || beginAgain());
beginAgain();
