import { h } from "./dom.js";
import { List, titleOf } from "./list.js";
import { fill } from "./strings.js";

/**
 * @typedef {import("../client.js").InboxClient} InboxClient
 * @typedef {import("../api.js").UserApi} UserApi
 * @typedef {import("./list.js").Acts} Acts
 * @typedef {import("./strings.js").Strings} Strings
 */

const PAGE = 50;

/** What was archived, newest first, page by page; each can be taken out again. */
export class ArchiveView {
  /**
   * @param {InboxClient} client
   * @param {UserApi} api
   * @param {{acts: Omit<Acts, "archive">, strings: Strings, language: string, say: (text: string, bad?: boolean) => void}} options
   */
  constructor(client, api, { acts, strings, language, say }) {
    this.client = client;
    this.api = api;
    this.strings = strings;
    this.say = say;
    const third = { words: strings.unarchive, icon: /** @type {const} */ ("unarchive") };
    this.list = new List({ ...acts, archive: (item) => this.#takeOut(item) }, { ...strings, notifications: strings.archiveHeading }, language, third);
    this.older = h("button", { class: "older", part: "older", type: "button", onclick: () => void this.load(), hidden: true }, strings.older);
    this.empty = h("p", { class: "state", hidden: true }, strings.archiveEmpty);
    this.node = h("div", {}, this.list.node, this.older, this.empty);
    /** @type {string | null} */
    this.cursor = null;
    this.loaded = false;
  }

  /** The first page, or the next. A page may hold nothing that fits, and still not be the last. */
  async load() {
    this.older.disabled = true;
    try {
      let found = 0;
      do {
        const page = await this.api.older({ cursor: this.cursor, limit: PAGE, archived: true });
        found = page.items.length;
        this.client.inbox.keep(page.items);
        this.cursor = page.next_cursor;
      } while (!found && this.cursor !== null);
      this.loaded = true;
    } catch (error) {
      this.say(fill(this.strings.failed, { reason: /** @type {Error} */ (error).message }), true);
    }
    this.older.disabled = false;
    this.show();
  }

  show() {
    const items = this.client.inbox.archived();
    // What is known from elsewhere and lies behind the next page waits for it.
    const from = this.cursor === null ? 0 : Number(this.cursor);
    this.list.show(items.filter((item) => item.seq >= from));
    this.older.hidden = this.cursor === null;
    this.empty.hidden = !this.loaded || items.length > 0;
  }

  /** @param {import("./list.js").Item} item */
  #takeOut(item) {
    this.client.unarchive(item.seq);
    this.say(fill(this.strings.unarchived, { title: titleOf(item) }));
  }
}
