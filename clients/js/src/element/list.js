import { h, icon, safeLink, text } from "./dom.js";
import { ago, fill } from "./strings.js";

/**
 * @typedef {import("../protocol.js").Item} Item
 * @typedef {import("./strings.js").Strings} Strings
 *
 * @typedef {object} Acts what the list asks for
 * @property {(item: Item, event: Event) => void} select
 * @property {(item: Item) => void} toggle read or unread
 * @property {(item: Item) => void} archive or what else the third button is for
 */

/** @param {Item} item */
export const titleOf = (item) => text(item.payload.title) || item.event_type;

/** The items as a grid: arrows move between rows and within one, and the list is a single stop for Tab. */
export class List {
  /** @param {Acts} acts @param {Strings} strings @param {string} language @param {{words: string, icon: "archive" | "unarchive"}} third the button's */
  constructor(acts, strings, language, third = { words: strings.archive, icon: "archive" }) {
    this.acts = acts;
    this.third = third;
    this.strings = strings;
    this.language = language;
    this.node = h("div", { role: "grid", part: "list", "aria-label": strings.notifications });
    this.node.addEventListener("keydown", (event) => this.#key(event));
    this.node.addEventListener("focusin", (event) => this.#stopAt(/** @type {HTMLElement} */ (event.target)));
    /** @type {Map<number, HTMLElement>} */
    this.rows = new Map();
  }

  /** Rows are kept where they are known, so that focus and screen readers stay where they were. @param {Item[]} items @param {number} [arriving] */
  show(items, arriving) {
    const wanted = new Set(items.map((item) => item.seq));
    for (const [seq, row] of this.rows) if (!wanted.has(seq)) this.#remove(seq, row);
    /** @type {Element | null} */
    let before = null;
    for (const item of items.toReversed()) {
      const row = this.rows.get(item.seq) ?? this.#add(item, item.seq === arriving);
      this.#update(row, item);
      if (row.nextElementSibling !== before || row.parentNode !== this.node) this.node.insertBefore(row, before);
      before = row;
    }
    if (!this.node.querySelector('[tabindex="0"]')) this.#stopAt(this.node.querySelector("[tabindex]"));
  }

  /** Times in words grow old. */
  tick() {
    for (const time of this.node.querySelectorAll("time")) {
      time.textContent = ago(time.dateTime, this.language, this.strings.now);
    }
  }

  /** To the newest; whether there is one. */
  toTop() {
    this.#stopAt(this.node.querySelector("[tabindex]"));
    this.focus();
    return this.rows.size > 0;
  }

  /** To the row that Tab would reach. */
  focus() {
    /** @type {HTMLElement | null} */ (this.node.querySelector('[tabindex="0"]'))?.focus();
  }

  /** @param {Item} item @param {boolean} arriving */
  #add(item, arriving) {
    const link = safeLink(item.payload.url);
    const title = titleOf(item);
    const open = h(link ? "a" : "button", { class: "open", part: "item", tabindex: -1, href: link, type: link ? null : "button" },
      h("span", { class: "dot", part: "dot", "aria-hidden": "true" }),
      h("span", { class: "text" },
        h("span", { class: "unseen unread-word" }, this.strings.unreadItem + " "),
        h("bdi", { class: "title", part: "title" }, title),
        h("bdi", { class: "words", part: "body", hidden: !text(item.payload.body) }, text(item.payload.body)),
        h("time", { class: "time", part: "time", datetime: item.created_at, title: new Date(item.created_at).toLocaleString(this.language) },
          ago(item.created_at, this.language, this.strings.now))));
    const toggle = h("button", { class: "icon toggle", part: "action", type: "button", tabindex: -1 });
    const archive = h("button", { class: "icon", part: "action", type: "button", tabindex: -1, "aria-label": fill(this.third.words, { title }) }, icon(this.third.icon));
    const row = h("div", { class: "row", role: "row", part: "row" },
      h("div", { class: "cell main", role: "gridcell" }, open),
      h("div", { class: "acts" }, h("div", { role: "gridcell" }, toggle), h("div", { role: "gridcell" }, archive)));
    // Unseen, it would play when the panel opens.
    if (arriving && this.node.checkVisibility()) row.classList.add("arriving");
    row.onanimationend = () => row.classList.remove("arriving");
    this.rows.set(item.seq, row);
    return row;
  }

  /** @param {HTMLElement} row @param {Item} item */
  #update(row, item) {
    const unread = !item.read_at;
    row.classList.toggle("new", unread);
    /** @type {HTMLElement} */ (row.querySelector(".unread-word")).hidden = !unread;
    const toggle = /** @type {HTMLElement} */ (row.querySelector(".toggle"));
    const label = fill(unread ? this.strings.markRead : this.strings.markUnread, { title: titleOf(item) });
    if (toggle.ariaLabel !== label) {
      toggle.ariaLabel = label;
      toggle.replaceChildren(icon(unread ? "check" : "unread"));
    }
    row.onclick = (event) => this.#click(event, item);
  }

  /** @param {Event} event @param {Item} item */
  #click(event, item) {
    const button = /** @type {HTMLElement} */ (event.target).closest("a, button");
    if (!button) return;
    if (button.classList.contains("open")) this.acts.select(item, event);
    else if (button.classList.contains("toggle")) this.acts.toggle(item);
    else this.acts.archive(item);
  }

  /** Who was in the row goes to its neighbour. @param {number} seq @param {HTMLElement} row */
  #remove(seq, row) {
    const root = /** @type {ShadowRoot} */ (row.getRootNode());
    const held = row.contains(root.activeElement);
    const neighbour = row.nextElementSibling ?? row.previousElementSibling;
    row.remove();
    this.rows.delete(seq);
    const stop = /** @type {HTMLElement | null | undefined} */ (neighbour?.querySelector("[tabindex]"));
    if (held && stop) stop.focus();
  }

  /** @param {HTMLElement | null} target */
  #stopAt(target) {
    const stop = target?.closest("[tabindex]");
    if (!stop) return;
    for (const other of this.node.querySelectorAll('[tabindex="0"]')) other.setAttribute("tabindex", "-1");
    stop.setAttribute("tabindex", "0");
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const here = /** @type {HTMLElement} */ (event.target);
    const goal = this.#goal(here, event.key);
    if (event.key === "Delete") /** @type {HTMLElement} */ (here.closest(".row")?.querySelector(".acts [role]:last-child button"))?.click();
    else if (goal) goal.focus();
    else return;
    event.preventDefault();
  }

  /** @param {HTMLElement} here @param {string} key @returns {HTMLElement | null | undefined} */
  #goal(here, key) {
    const row = here.closest(".row");
    const stops = [...(row?.querySelectorAll("[tabindex]") ?? [])];
    const column = stops.indexOf(here);
    const forward = getComputedStyle(this.node).direction === "rtl" ? "ArrowLeft" : "ArrowRight";
    const at = (/** @type {Element | null | undefined} */ other) =>
      /** @type {HTMLElement | undefined} */ (other?.querySelectorAll("[tabindex]")[column]);
    switch (key) {
      case "ArrowDown": return at(row?.nextElementSibling);
      case "ArrowUp": return at(row?.previousElementSibling);
      case "Home": return at(this.node.firstElementChild);
      case "End": return at(this.node.lastElementChild);
      case "ArrowLeft":
      case "ArrowRight":
        return /** @type {HTMLElement | undefined} */ (stops[column + (key === forward ? 1 : -1)]);
      default: return null;
    }
  }
}
