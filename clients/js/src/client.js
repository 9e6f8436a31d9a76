import { Inbox, NEEDS_FIX, NEEDS_TOKEN, expiry, pause } from "./protocol.js";

/**
 * @typedef {import("./protocol.js").Item} Item
 * @typedef {"idle" | "connecting" | "live" | "waiting" | "ended"} State
 * @typedef {string | (() => string | Promise<string>)} Token a function is asked for a fresh one whenever it is needed
 *
 * @typedef {object} Options
 * @property {string} gateway its URL, as https://notify.example.com
 * @property {Token} token a JWT with the scope `user`
 * @property {number | null} [cursor] the last seq seen, where the page has kept it
 * @property {(url: string, protocols: string) => WebSocket} [open] in place of the global WebSocket
 */

const PING_MS = 25_000;
const SILENCE_MS = 10_000;
const RENEW_BEFORE_MS = 30_000;
const MAX_SEQS = 500;
const MAX_WAITING = 200;
const MAX_TIMER_MS = 2 ** 31 - 1;

/**
 * The inbox of a user, live. Reconnects by itself, goes on where it was, and keeps the exact count.
 *
 * Events: `change` (anything), `item` (detail: the Item, when it is new and live), `state` (detail: the State),
 * `refused` (detail: why a request was not carried out), `ended` (detail: why it does not come back).
 */
export class InboxClient extends EventTarget {
  /** @param {Options} options */
  constructor(options) {
    super();
    this.inbox = new Inbox();
    this.inbox.cursor = options.cursor ?? null;
    /** @type {State} */
    this.state = "idle";
    this.#options = options;
  }

  #options;
  /** @type {WebSocket | null} */
  #socket = null;
  #attempt = 0; // counts connections, so that a token that comes late opens none
  #failures = 0; // in a row
  #refusals = 0; // of tokens, in a row
  #synced = false; // on this connection
  /** @type {object[]} what was asked while there was no connection */
  #waiting = [];
  /** @type {Record<"retry" | "ping" | "dead" | "renew", ReturnType<typeof setTimeout> | undefined>} */
  #timers = { retry: undefined, ping: undefined, dead: undefined, renew: undefined };

  get unread() {
    return this.inbox.unread;
  }

  /** Newest first, without those archived. */
  get items() {
    return this.inbox.list();
  }

  /** Begin, or begin again at once. */
  connect() {
    this.#drop();
    this.#refusals = 0;
    this.#become("connecting");
    void this.#open();
  }

  /** Stop, and stay away. What is known stays. */
  close() {
    this.#drop();
    this.#become("idle");
  }

  /** @param {number[]} seqs */
  read(...seqs) {
    this.#change("read", seqs);
  }

  /** @param {number[]} seqs */
  unreadAgain(...seqs) {
    this.#change("unread", seqs);
  }

  /** @param {number[]} seqs */
  archive(...seqs) {
    this.#change("archive", seqs);
  }

  /** @param {number[]} seqs */
  unarchive(...seqs) {
    this.#change("unarchive", seqs);
  }

  /** Everything that is known here; what arrives meanwhile stays unread. */
  readAll() {
    if (this.inbox.cursor !== null) this.#ask({ type: "read_all", up_to: this.inbox.cursor });
  }

  /** Everything that is known here; what arrives meanwhile stays. */
  archiveAll() {
    if (this.inbox.cursor !== null) this.#ask({ type: "archive_all", up_to: this.inbox.cursor });
  }

  /** The current token, fresh where the option is a function. */
  async token() {
    const { token } = this.#options;
    return typeof token === "function" ? await token() : token;
  }

  // ---- asking

  /** @param {string} type @param {number[]} seqs */
  #change(type, seqs) {
    for (let start = 0; start < seqs.length; start += MAX_SEQS) {
      this.#ask({ type, seqs: seqs.slice(start, start + MAX_SEQS) });
    }
  }

  /** Every change is safe to repeat, so what is asked offline may wait. @param {object} frame */
  #ask(frame) {
    if (this.state === "live") this.#send(frame);
    else if (this.#waiting.length < MAX_WAITING) this.#waiting.push(frame);
  }

  /** @param {object} frame */
  #send(frame) {
    if (this.#socket?.readyState === 1) this.#socket.send(JSON.stringify(frame));
  }

  // ---- the connection

  async #open() {
    const attempt = ++this.#attempt;
    const { gateway, open = (url, protocol) => new WebSocket(url, protocol) } = this.#options;
    let token;
    try {
      token = await this.token();
    } catch (error) {
      if (attempt === this.#attempt) this.#away({ code: 1006, reason: `no token: ${error}` });
      return;
    }
    if (attempt !== this.#attempt) return; // closed, or begun again, meanwhile
    const url = gateway.replace(/^http/, "ws").replace(/\/$/, "") + "/v1/ws";
    const socket = (this.#socket = open(url, "outbox.v1"));
    this.#synced = false;
    socket.onopen = () => this.#send({ type: "auth", token, cursor: this.inbox.cursor });
    socket.onmessage = (event) => socket === this.#socket && this.#take(JSON.parse(event.data));
    socket.onclose = (event) => socket === this.#socket && this.#away(event);
    this.#listenForSilence(); // it may die before the first word
    this.#renewBefore(token);
  }

  /** @param {{code: number, reason: string}} closed */
  #away(closed) {
    this.#drop();
    if (NEEDS_TOKEN.has(closed.code)) this.#refusals += 1;
    if (NEEDS_FIX.has(closed.code) || (NEEDS_TOKEN.has(closed.code) && !this.#mayRenew())) {
      this.#become("ended");
      this.#tell("ended", closed.reason || String(closed.code));
      return;
    }
    this.#failures += 1;
    this.#become("waiting");
    this.#timers.retry = setTimeout(() => void this.#open(), pause(this.#failures, closed));
  }

  /** A function may give a better token the next time; not after a second refusal. */
  #mayRenew() {
    return typeof this.#options.token === "function" && this.#refusals < 2;
  }

  #drop() {
    this.#attempt += 1;
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
    this.#timers = { retry: undefined, ping: undefined, dead: undefined, renew: undefined };
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  /** A browser cannot see WebSocket's own pings, so a connection that died silently is found by asking. */
  #listenForSilence() {
    clearTimeout(this.#timers.dead);
    clearTimeout(this.#timers.ping);
    this.#timers.ping = setTimeout(() => {
      this.#send({ type: "ping" });
      this.#timers.dead = setTimeout(() => this.#away({ code: 1006, reason: "" }), SILENCE_MS);
    }, PING_MS);
  }

  /** @param {string} token */
  #renewBefore(token) {
    const moment = expiry(token);
    if (moment === null || typeof this.#options.token !== "function") return;
    const left = moment - Date.now();
    // A token of a minute or less is replaced half-way.
    const wait = Math.max(left - RENEW_BEFORE_MS, left / 2);
    if (wait > 0 && wait < MAX_TIMER_MS) this.#timers.renew = setTimeout(() => void this.#renew(), wait);
  }

  async #renew() {
    try {
      const token = await this.token();
      this.#send({ type: "auth", token, cursor: null });
      this.#renewBefore(token);
    } catch {
      // The gateway closes the socket when the old one ends, and the next attempt asks again.
    }
  }

  // ---- what is heard

  /** @param {any} frame */
  #take(frame) {
    this.#listenForSilence();
    const news = this.inbox.take(frame);
    if (news.kind === "reset") this.#waiting = []; // it was about items that are no more
    if (news.kind === "synced" && !this.#synced) this.#live();
    if (news.kind === "item" && this.#synced) this.#tell("item", news.item);
    if (news.kind === "refused") this.#tell("refused", news.detail);
    this.#tell("change");
  }

  #live() {
    this.#synced = true;
    this.#failures = this.#refusals = 0;
    this.#become("live");
    for (const frame of this.#waiting.splice(0)) this.#send(frame);
  }

  /** @param {State} state */
  #become(state) {
    if (state === this.state) return;
    this.state = state;
    this.#tell("state", state);
  }

  /** @param {string} type @param {unknown} [detail] */
  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
