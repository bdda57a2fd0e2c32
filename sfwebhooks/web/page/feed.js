/* The pages of a listing of the API, one after the other: a path with filters comes in, items go out. */

import { api } from "./app.js";

const PAGE = 100;

/** Begin a listing; nothing is asked before `more`. */
export function feed(path, filters) {
  const items = [];
  const places = new Map(); // id -> place in items, less the number of those that came before them later
  let before = 0;
  let next = "";
  let loading = null;
  let hasFailed = false;

  const page = (cursor) => {
    const asked = new URLSearchParams(filters);
    asked.set("limit", PAGE);
    if (cursor) asked.set("cursor", cursor);
    return api("GET", `${path}?${asked}`);
  };

  function place(id) {
    const found = places.get(id);
    return found === undefined ? undefined : found + before;
  }

  function add(found) {
    for (const item of found) {
      if (places.has(item.delivery)) continue;
      places.set(item.delivery, items.length - before);
      items.push(item);
    }
  }

  async function load() {
    try {
      const before = items.length;
      do {
        const found = await page(next);
        add(found.items);
        next = found.next;
      } while (next && items.length === before); // a page of what is rare can be empty, and not the last one
      hasFailed = false;
    } catch (problem) {
      hasFailed = true;
      throw problem;
    } finally {
      loading = null;
    }
  }

  return {
    items,
    get isWhole() {
      return next === null;
    },
    /** Whether the last page did not come. */
    get hasFailed() {
      return hasFailed;
    },
    /** The place of a delivery; undefined: it is not in the list. */
    place,
    /** Add the next page; calls during one share it. */
    more() {
      loading ??= load();
      return loading;
    },
    /**
     * Read the first page again: items that are known are replaced.
     *
     * @returns {Promise<{changed: number[], fresh: object[], hasGap: boolean}>} places of changed items, new items, and
     *   whether there are more new ones than a page has
     */
    async newest() {
      const { items: found } = await page("");
      const known = found.filter((item) => places.has(item.delivery));
      const changed = [];
      for (const item of known) {
        const at = place(item.delivery);
        if (JSON.stringify(items[at]) === JSON.stringify(item)) continue;
        items[at] = item;
        changed.push(at);
      }
      // what follows a known one is older: it has come into the page because others have left it
      const fresh = known.length ? found.slice(0, found.indexOf(known[0])) : found;
      return { changed, fresh, hasGap: fresh.length > 0 && !known.length && items.length > 0 };
    },
    /** Put items before all others. */
    prepend(found) {
      items.unshift(...found);
      before += found.length;
      found.forEach((item, at) => places.set(item.delivery, at - before));
    },
  };
}
