/**
 * <outbox-inbox>: a bell with the exact count, and the inbox behind it. See docs/clients.md.
 *
 * Attributes: `token-url` or `token`, `gateway`, `api`, `channels`, `inline`, `theme`, `lang`.
 * Properties: `token` (text or a function), `strings`, `categories`, `client` (the InboxClient).
 * Events: `outbox-select` (cancelable), `outbox-new`, `outbox-count`, `outbox-state`.
 */
import { UserApi } from "../api.js";
import { InboxClient } from "../client.js";
import { ArchiveView } from "./archive.js";
import { List, titleOf } from "./list.js";
import { Panel, place } from "./panel.js";
import { PreferencesView } from "./preferences.js";
import { STRINGS, fill } from "./strings.js";
import { sheet } from "./style.js";

/**
 * @typedef {import("../protocol.js").Item} Item
 * @typedef {import("../client.js").Token} Token
 * @typedef {import("./preferences.js").Category} Category
 */

const PAGE = 50;
const TICK_MS = 30_000;
const UNDO_MS = 8000;
const NEWS_MS = 400;
const HOME = new URL(import.meta.url).origin;

export class OutboxInbox extends HTMLElement {
  static observedAttributes = ["gateway", "api", "token", "token-url"];

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open", delegatesFocus: false });
    root.adoptedStyleSheets = [sheet()];
    /** @type {Partial<typeof STRINGS>} */
    this.strings = {};
    /** What the preferences offer beside everything. @type {Category[]} */
    this.categories = [];
    /** @type {InboxClient | null} */
    this.client = null;
  }

  /** @type {List} */
  list;
  /** @type {Panel} */
  panel;
  /** @type {UserApi | undefined} */
  api;
  /** @type {Token | null} */
  #token = null;
  #shown = PAGE;
  #more = true;
  #everLive = false;
  #reason = "";
  #unread = -1;
  /** @type {Item[]} what came, and was not yet said to a screen reader */
  #news = [];
  /** @type {ReturnType<typeof setTimeout>[]} */
  #timers = [];
  /** @type {ReturnType<typeof setTimeout> | undefined} takes the last undo away */
  #undoing;
  #starting = false;
  /** @type {ArchiveView | null} while it is looked at */
  #shelf = null;
  /** @type {HTMLElement | null} where the focus goes back to from another view */
  #opener = null;

  /** A JWT, or a function that gives a fresh one; it wins over the attributes. */
  get token() {
    return this.#token;
  }

  set token(token) {
    this.#token = token;
    this.#restart();
  }

  get unread() {
    return this.client?.unread ?? 0;
  }

  connectedCallback() {
    this.#draw();
    this.#restart();
    window.addEventListener("online", this.#online);
    this.#timers.push(setInterval(() => this.list.tick(), TICK_MS));
  }

  disconnectedCallback() {
    window.removeEventListener("online", this.#online);
    for (const timer of [...this.#timers.splice(0), this.#undoing]) clearTimeout(timer);
    this.#news = [];
    this.client?.close();
    this.client = null;
  }

  attributeChangedCallback() {
    if (this.isConnected) this.#restart();
  }

  show() {
    if (!this.panel.panel.matches(":popover-open") && !this.hasAttribute("inline")) this.panel.panel.showPopover();
  }

  hide() {
    if (!this.hasAttribute("inline")) this.panel.panel.hidePopover();
  }

  // ---- the connection

  /** Once a turn, however many attributes change in it. */
  #restart() {
    if (this.#starting || !this.isConnected) return;
    this.#starting = true;
    queueMicrotask(() => {
      this.#starting = false;
      this.client?.close();
      if (this.isConnected) this.#start();
    });
  }

  #start() {
    const token = this.#token ?? this.getAttribute("token") ?? this.#fromUrl();
    this.#everLive = false;
    this.#more = true;
    this.#shown = PAGE;
    this.client = null;
    if (!token) return this.#render();
    const gateway = this.getAttribute("gateway") ?? HOME;
    const api = this.getAttribute("api") ?? gateway;
    const client = (this.client = new InboxClient({ gateway, api, token }));
    this.api = new UserApi(api, () => client.token(), () => client.inbox.userId);
    const on = (/** @type {string} */ type, /** @type {(detail: any) => void} */ act) =>
      client.addEventListener(type, (event) => client === this.client && act(/** @type {CustomEvent} */ (event).detail));
    on("change", () => this.#render());
    on("item", (item) => this.#arrived(item));
    on("state", (state) => this.#became(state));
    on("ended", (reason) => this.#ended(reason));
    on("refused", (reason) => this.panel.notice(fill(this.words.failed, { reason }), true));
    client.connect();
  }

  /** The page's own server knows who is signed in. */
  #fromUrl() {
    const url = this.getAttribute("token-url");
    if (!url) return null;
    return async () => {
      const answer = await fetch(url, { method: "POST", headers: { accept: "application/json" } });
      if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
      return /** @type {string} */ ((await answer.json()).token);
    };
  }

  #online = () => this.client?.state === "waiting" && this.client.connect();

  /** @param {string} state */
  #became(state) {
    if (state === "live") this.#everLive = true;
    this.#render();
    if (state !== "ended") this.#tell("outbox-state", { state });
  }

  /** @param {string} reason */
  #ended(reason) {
    this.#reason = reason;
    this.#render();
    this.#tell("outbox-state", { state: "ended", reason });
  }

  /** The seq from which on everything is known here, and archived where it is not; 1 where that is all. */
  get #oldest() {
    const { cursor, items } = this.client?.inbox ?? { cursor: 0, items: new Map() };
    return Math.min((cursor ?? 0) + 1, ...items.keys());
  }

  // ---- what is seen

  get words() {
    return { ...STRINGS, ...this.strings };
  }

  #draw() {
    const language = this.closest("[lang]")?.getAttribute("lang") || navigator.language;
    this.#language = language;
    this.list = new List({ ...this.#acts, archive: (item) => this.#archive(item) }, this.words, language);
    this.panel = new Panel(this.words, this.list.node, {
      readAll: () => this.client?.readAll(),
      older: () => void this.#older(),
      preferences: () => void this.#preferences(),
      archive: () => void this.#openArchive(),
      back: () => this.#back(),
    });
    const { bell, panel, news } = this.panel;
    const inline = this.hasAttribute("inline");
    if (!inline) {
      panel.popover = "auto";
      bell.popoverTargetElement = panel;
      panel.addEventListener("toggle", (event) => this.#toggled(/** @type {ToggleEvent} */ (event).newState === "open"));
    }
    this.shadowRoot?.replaceChildren(...(inline ? [] : [bell]), panel, news);
  }

  /** @param {boolean} open */
  #toggled(open) {
    const { bell, panel } = this.panel;
    bell.ariaExpanded = String(open);
    if (!open) {
      this.#back();
      // Who was in the panel goes back to the bell; who went elsewhere stays there.
      if ([document.body, this].includes(/** @type {any} */ (document.activeElement))) bell.focus();
      return;
    }
    place(panel, bell);
    if (!this.list.toTop()) panel.focus();
  }

  /** @param {number} [arriving] */
  #render(arriving) {
    const { client } = this;
    const items = client?.items ?? [];
    this.list.show(items.slice(0, this.#shown), arriving);
    this.#shelf?.show();
    this.panel.show({
      unread: this.unread,
      empty: !items.length,
      state: client?.state ?? "idle",
      everLive: this.#everLive,
      more: items.length > this.#shown || (this.#more && this.#oldest > 1),
      reason: this.#reason,
    });
    if (this.unread !== this.#unread) this.#tell("outbox-count", { unread: (this.#unread = this.unread) });
  }

  /** What comes in a burst is said in one sentence. @param {Item} item */
  #arrived(item) {
    this.#render(item.seq);
    this.panel.ring();
    this.#tell("outbox-new", { item });
    if (this.#news.push(item) === 1) this.#timers.push(setTimeout(() => this.#announce(), NEWS_MS));
  }

  #announce() {
    const news = this.#news.splice(0);
    const words = news.length > 1 ? fill(this.words.newMany, { count: news.length }) : fill(this.words.new, { title: titleOf(news[0]) });
    this.panel.say(words);
  }

  // ---- what is done

  #language = "";
  #acts = {
    select: (/** @type {Item} */ item, /** @type {Event} */ event) => this.#select(item, event),
    toggle: (/** @type {Item} */ item) => this.#toggle(item),
  };

  /** A page that routes by itself cancels the event. @param {Item} item @param {Event} event */
  #select(item, event) {
    if (!item.read_at) this.client?.read(item.seq);
    if (!this.#tell("outbox-select", { item })) event.preventDefault();
    else if (item.payload.url) this.hide();
  }

  /** @param {Item} item */
  #toggle(item) {
    if (item.read_at) this.client?.unreadAgain(item.seq);
    else this.client?.read(item.seq);
  }

  /** @param {Item} item */
  #archive(item) {
    this.client?.archive(item.seq);
    const undo = () => {
      this.client?.unarchive(item.seq);
      this.panel.quiet();
      this.list.focus();
    };
    this.panel.notice(this.words.archived, false, { label: this.words.undo, act: undo });
    clearTimeout(this.#undoing);
    this.#undoing = setTimeout(() => this.panel.quiet(), UNDO_MS);
  }

  /** What is known here first, then pages of the API. */
  async #older() {
    const { client, api } = this;
    if (!client || !api) return;
    this.panel.older.disabled = true;
    try {
      if (client.items.length <= this.#shown) await this.#fetch(client, api);
      this.#shown += PAGE;
    } catch (error) {
      this.panel.notice(fill(this.words.failed, { reason: /** @type {Error} */ (error).message }), true);
    }
    this.panel.older.disabled = false;
    this.#render();
  }

  /** A page may hold nothing that fits, and still not be the last. @param {InboxClient} client @param {UserApi} api */
  async #fetch(client, api) {
    /** @type {string | null} */
    let cursor = String(this.#oldest);
    let found = 0;
    while (cursor !== null && !found) {
      const page = await api.older({ cursor, limit: PAGE });
      found = client.inbox.add(page.items);
      cursor = page.next_cursor;
    }
    this.#more = cursor !== null;
  }

  async #preferences() {
    const { api, words } = this;
    if (!api) return;
    const categories = [{ event_type: "*", label: words.everything }, ...this.categories];
    const channels = (this.getAttribute("channels") ?? "inapp email").split(/\s+/).filter(Boolean);
    const view = new PreferencesView(api, { channels, categories, strings: words, say: this.#say });
    this.#turn(view.node, words.preferences, this.panel.gear);
    try {
      await view.load();
    } catch (error) {
      this.#back();
      this.panel.notice(fill(words.failed, { reason: /** @type {Error} */ (error).message }), true);
    }
  }

  #say = (/** @type {string} */ text, bad = false) => (bad ? this.panel.notice(text, true) : this.panel.say(text));

  /** What was archived, and may be taken out again. */
  async #openArchive() {
    this.#more = true; // what is taken out may belong below all that is known here
    const { client, api, words } = this;
    if (!client || !api) return;
    const view = new ArchiveView(client, api, { acts: this.#acts, strings: words, language: this.#language, say: this.#say });
    this.#turn(view.node, words.archiveHeading, this.panel.shelf);
    this.#shelf = view;
    await view.load();
  }

  /** @param {Node} view @param {string} heading @param {HTMLElement} opener */
  #turn(view, heading, opener) {
    this.#opener = opener;
    this.panel.turn(view, heading);
    this.panel.back.focus();
  }

  #back() {
    const there = !this.panel.wishesBody.hidden;
    this.#shelf = null;
    this.panel.turn(null);
    if (there) this.#opener?.focus();
  }

  /** Whether nobody objected. @param {string} type @param {object} detail */
  #tell(type, detail) {
    return this.dispatchEvent(new CustomEvent(type, { detail, bubbles: true, composed: true, cancelable: true }));
  }
}

// A page may load the script twice.
if (!customElements.get("outbox-inbox")) customElements.define("outbox-inbox", OutboxInbox);
