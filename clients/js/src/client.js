import { Inbox, NEEDS_FIX, NEEDS_TOKEN, expiry, pause } from "./protocol.js";
import { Choice } from "./roads/choice.js";
import { openEvents } from "./roads/events.js";
import { openPoll } from "./roads/poll.js";
import { openSocket } from "./roads/socket.js";

/**
 * @typedef {import("./protocol.js").Item} Item
 * @typedef {"idle" | "connecting" | "live" | "waiting" | "ended"} State
 * @typedef {string | (() => string | Promise<string>)} Token a function is asked for a fresh one whenever it is needed
 *
 * @typedef {object} Options
 * @property {string} gateway its URL, as https://notify.example.com
 * @property {string} [api] its URL; left out, the gateway's
 * @property {Token} token a JWT with the scope `user`
 * @property {number | null} [cursor] the last seq seen, where the page has kept it
 * @property {(url: string, protocols: string) => WebSocket} [open] in place of the global WebSocket
 */

/** The best first: where one is blocked, by a proxy or for good, the next serves. */
const ROADS = [openSocket, openEvents, openPoll];
/** Their names, for `road`. */
const NAMES = /** @type {const} */ (["websocket", "events", "poll"]);
const FIRST_WORD_MS = 15_000;
const BETTER_MS = 60_000;
const RENEW_BEFORE_MS = 30_000;
const MAX_SEQS = 500;
const MAX_WAITING = 200;
const MAX_TIMER_MS = 2 ** 31 - 1;

/**
 * The inbox of a user, live. Reconnects by itself, goes on where it was, and keeps the exact count: by WebSocket, where
 * that is blocked by server-sent events, and where nothing lasts by looking every fifteen seconds.
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
  /** @type {import("./roads/socket.js").Road | null} */
  #road = null;
  #choice = new Choice(ROADS.length);
  #heard = false; // on this connection
  #attempt = 0; // counts connections, so that a token that comes late opens none
  #failures = 0; // in a row
  #refusals = 0; // of tokens, in a row
  #synced = false; // on this connection
  /** @type {object[]} what was asked while there was no connection */
  #waiting = [];
  /** @type {Record<"retry" | "first" | "better" | "renew", ReturnType<typeof setTimeout> | undefined>} */
  #timers = { retry: undefined, first: undefined, better: undefined, renew: undefined };

  get unread() {
    return this.inbox.unread;
  }

  /** Newest first, without those archived. */
  get items() {
    return this.inbox.list();
  }

  /** How it is connected, or tries to be. */
  get road() {
    return NAMES[this.#choice.index];
  }

  /** Begin, or begin again at once. */
  connect() {
    this.#drop();
    this.#refusals = 0;
    this.#choice.take(0);
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
    if (this.#synced) this.#road?.ask(frame);
    else if (this.#waiting.length < MAX_WAITING) this.#waiting.push(frame);
  }

  // ---- the connection

  async #open() {
    const attempt = ++this.#attempt;
    this.#heard = false;
    let token;
    try {
      token = await this.token();
    } catch (error) {
      if (attempt === this.#attempt) this.#away({ code: 1005, reason: `no token: ${error}` });
      return;
    }
    if (attempt !== this.#attempt) return; // closed, or begun again, meanwhile
    this.#timers.first = setTimeout(() => this.#away({ code: 1006, reason: "" }), FIRST_WORD_MS);
    this.#road = this.#lead(this.#choice.index, token, {
      hear: (frame) => attempt === this.#attempt && this.#take(frame),
      lost: (closed) => attempt === this.#attempt && this.#away(closed),
    });
    this.#renewBefore(token);
  }

  /** @param {number} index @param {string} token @param {import("./roads/socket.js").Ears} ears */
  #lead(index, token, ears) {
    const { gateway, api = gateway, open = (url, protocol) => new WebSocket(url, protocol) } = this.#options;
    return ROADS[index]({ gateway, api, token, inbox: this.inbox, open }, ears);
  }

  /** @param {{code: number, reason: string}} closed 1005: it was not even tried */
  #away(closed) {
    if (!this.#heard && closed.code === 1006) this.#choice.missed();
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

  /** Now and then, on another road than the best: does a better one answer by now? */
  async #seekBetter() {
    const attempt = this.#attempt;
    for (let index = 0; index < this.#choice.index; index += 1) {
      const answers = await this.#answers(index);
      if (attempt !== this.#attempt) return;
      if (answers) {
        this.#choice.take(index);
        this.#drop();
        void this.#open();
        return;
      }
    }
    this.#timers.better = setTimeout(() => void this.#seekBetter(), BETTER_MS);
  }

  /** @param {number} index @returns {Promise<boolean>} */
  async #answers(index) {
    const token = await this.token().catch(() => null);
    if (token === null) return false;
    return new Promise((resolve) => {
      const end = (/** @type {boolean} */ answers) => {
        clearTimeout(timer);
        resolve(answers);
        // A road may end before it is known here.
        queueMicrotask(() => road.close());
      };
      const timer = setTimeout(() => end(false), FIRST_WORD_MS);
      const road = this.#lead(index, token, { hear: () => end(true), lost: () => end(false) });
    });
  }

  /** A function may give a better token the next time; not after a second refusal. */
  #mayRenew() {
    return typeof this.#options.token === "function" && this.#refusals < 2;
  }

  #drop() {
    this.#attempt += 1;
    this.#synced = false;
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
    this.#timers = { retry: undefined, first: undefined, better: undefined, renew: undefined };
    const road = this.#road;
    this.#road = null;
    road?.close();
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
    const attempt = this.#attempt;
    try {
      const token = await this.token();
      if (attempt !== this.#attempt) return; // closed, or begun again, meanwhile
      this.#road?.renew(token);
      this.#renewBefore(token);
    } catch {
      // The gateway closes the socket when the old one ends, and the next attempt asks again.
    }
  }

  // ---- what is heard

  /** @param {any} frame */
  #take(frame) {
    clearTimeout(this.#timers.first);
    this.#heard = true;
    this.#choice.heard();
    const news = this.inbox.take(frame);
    if (news.kind === "reset" || news.kind === "stranger") this.#waiting = []; // it was about items that are no more
    if (news.kind === "stranger" && frame.resumed) {
      // What it goes on from was somebody else's place.
      this.#drop();
      this.#tell("change");
      void this.#open();
      return;
    }
    if (news.kind === "synced" && !this.#synced) this.#live();
    if (news.kind === "item" && this.#synced) this.#tell("item", news.item);
    if (news.kind === "refused") this.#tell("refused", news.detail);
    this.#tell("change");
  }

  #live() {
    this.#synced = true;
    this.#failures = this.#refusals = 0;
    this.#become("live");
    if (this.#choice.index) this.#timers.better = setTimeout(() => void this.#seekBetter(), BETTER_MS);
    for (const frame of this.#waiting.splice(0)) this.#road?.ask(frame);
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
