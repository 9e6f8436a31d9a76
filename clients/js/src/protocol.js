/**
 * What is known of an inbox, and what the gateway's frames make of it. No I/O (docs/realtime.md).
 *
 * @typedef {object} Item one notification of an inbox
 * @property {number} seq dense per user; the order of the inbox
 * @property {string} notification_id
 * @property {string} event_type
 * @property {string | null} actor_user_id
 * @property {Record<string, unknown>} payload the producer's JSON: to be trusted as little as any input
 * @property {string} created_at RFC 3339
 * @property {string} delivered_at RFC 3339
 * @property {string | null} read_at null for unread
 * @property {string | null} archived_at
 *
 * @typedef {object} News what a frame has changed
 * @property {"item" | "marks" | "synced" | "reset" | "stranger" | "count" | "refused" | "nothing"} kind
 * @property {Item} [item] of kind "item": a new one, or one that was missed
 * @property {string} [detail] of kind "refused": why the last request was not carried out
 */

/** Close codes that forbid coming back with the same token, or without a fix. */
export const NEEDS_TOKEN = new Set([4401, 4403]);
export const NEEDS_FIX = new Set([1009, 4400]);
export const RESTARTING = 1012;
export const TOKEN_EXPIRED = 4419;

const MARKS = /** @type {const} */ ([
  ["read", "read_at", true],
  ["unread_again", "read_at", false],
  ["archived", "archived_at", true],
  ["unarchived", "archived_at", false],
]);

/** An inbox as far as it is known here. */
export class Inbox {
  constructor() {
    /** @type {Map<number, Item>} */
    this.items = new Map();
    /** Archived ones that were fetched; those that the gateway told of are among the items. @type {Map<number, Item>} */
    this.shelf = new Map();
    /** The last seq seen: what to come back with. @type {number | null} */
    this.cursor = null;
    /** The exact number of unread items, of the highest version heard. */
    this.unread = 0;
    this.version = -1;
    this.userId = "";
  }

  /** Newest first, without those archived. @returns {Item[]} */
  list() {
    return [...this.items.values()].filter((item) => !item.archived_at).sort((a, b) => b.seq - a.seq);
  }

  /** Newest first, as far as they were told of or fetched. @returns {Item[]} */
  archived() {
    const known = new Map([...this.shelf, ...this.items]);
    return [...known.values()].filter((item) => item.archived_at).sort((a, b) => b.seq - a.seq);
  }

  /** @param {any} frame @returns {News} */
  take(frame) {
    switch (frame.type) {
      case "welcome":
        return this.#welcome(frame);
      case "notification":
        return this.#item(frame);
      case "changed":
        this.#mark(frame);
        this.count(frame);
        return { kind: "marks" };
      case "synced":
        this.cursor = frame.last_seq;
        this.count(frame);
        return { kind: "synced" };
      case "error":
        return { kind: "refused", detail: String(frame.detail) };
      default:
        return { kind: "nothing" }; // of a newer server
    }
  }

  /** Items that were fetched, of any age. @param {Item[]} items @returns {number} how many were not known */
  add(items) {
    const fresh = items.filter((item) => !this.items.has(item.seq));
    for (const item of fresh) this.items.set(item.seq, { ...item });
    return fresh.length;
  }

  /** Archived items that were fetched. @param {Item[]} items */
  keep(items) {
    for (const item of items) if (!this.items.has(item.seq)) this.shelf.set(item.seq, { ...item });
  }

  /** A count with a lower version is an old one. @param {{unread: number, version: number}} told */
  count(told) {
    if (told.version < this.version) return;
    this.version = told.version;
    this.unread = told.unread;
  }

  forget() {
    this.items.clear();
    this.shelf.clear();
    this.cursor = null;
    this.version = -1;
    this.unread = 0;
  }

  /** @param {any} frame @returns {News} */
  #welcome(frame) {
    const other = !frame.resumed && this.cursor !== null;
    const stranger = this.userId !== "" && this.userId !== frame.user_id;
    if (other || stranger) this.forget();
    this.userId = frame.user_id;
    this.count(frame);
    return { kind: stranger ? "stranger" : other ? "reset" : "count" };
  }

  /** @param {any} frame @returns {News} */
  #item({ type: _, unread, version, ...item }) {
    this.count({ unread, version });
    if (this.cursor === null || item.seq > this.cursor) this.cursor = item.seq;
    const known = this.items.has(item.seq);
    this.items.set(item.seq, item);
    return known ? { kind: "marks" } : { kind: "item", item };
  }

  /** Back among the items, if those are known from there on; otherwise a page of older ones brings it. @param {Item} item */
  #unshelve(item) {
    if (!this.shelf.delete(item.seq) || item.seq < Math.min(...this.items.keys())) return;
    this.items.set(item.seq, item);
  }

  /** @param {any} frame */
  #mark(frame) {
    const now = new Date().toISOString();
    for (const [list, field, set] of MARKS) {
      for (const seq of frame[list] ?? []) {
        const item = this.items.get(seq) ?? this.shelf.get(seq);
        if (item) item[field] = set ? (item[field] ?? now) : null;
        if (item && !item.archived_at) this.#unshelve(item);
      }
    }
  }
}

/**
 * Milliseconds before the next attempt: what a restarting gateway asks for, or doubling with jitter.
 *
 * @param {number} failures in a row, from 1 on
 * @param {{code: number, reason: string}} closed
 */
export function pause(failures, closed) {
  const asked = closed.code === RESTARTING && /^retry_ms=(\d{1,6})$/.exec(closed.reason);
  if (asked) return Number(asked[1]);
  if (closed.code === TOKEN_EXPIRED && failures === 1) return 0;
  const most = Math.min(30_000, 500 * 2 ** Math.min(failures - 1, 8));
  return most / 2 + Math.random() * (most / 2);
}

/** When a JWT expires, in milliseconds since 1970; null where it cannot be read. @param {string} token */
export function expiry(token) {
  const { exp } = claims(token);
  return typeof exp === "number" ? exp * 1000 : null;
}

/** Whose a JWT is; null where it cannot be read. @param {string} token */
export function subject(token) {
  const { sub } = claims(token);
  return typeof sub === "string" ? sub : null;
}

/** @param {string} token @returns {Record<string, unknown>} */
function claims(token) {
  try {
    const bytes = atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"));
    const told = JSON.parse(new TextDecoder().decode(Uint8Array.from(bytes, (byte) => byte.charCodeAt(0))));
    return told && typeof told === "object" ? told : {};
  } catch {
    return {};
  }
}
