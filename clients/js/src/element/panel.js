import { h, icon } from "./dom.js";
import { fill } from "./strings.js";

/** @typedef {import("./strings.js").Strings} Strings */

const LEAST_HEIGHT = 320; // of the panel, where the bell stands low

/**
 * @typedef {object} Shown
 * @property {number} unread
 * @property {boolean} empty nothing in the list
 * @property {"idle" | "connecting" | "live" | "waiting" | "ended"} state
 * @property {boolean} everLive once there was a list
 * @property {boolean} more there are older items
 * @property {string} reason why it ended
 */

/** The bell and the panel around the list: what stands still while items come and go. */
export class Panel {
  /**
   * @param {Strings} strings
   * @param {Node} list
   * @param {{readAll: () => void, older: () => void, preferences: () => void, archive: () => void, back: () => void}} acts
   */
  constructor(strings, list, acts) {
    this.strings = strings;
    this.badge = h("span", { class: "badge", part: "badge", "aria-hidden": "true", hidden: true });
    this.bell = h("button", { class: "bell", part: "bell", type: "button", "aria-haspopup": "dialog", "aria-expanded": "false", "aria-controls": "panel" }, icon("bell", 22), this.badge);
    this.count = h("span", {});
    this.heading = h("h2", { class: "heading", part: "heading", id: "heading" }, strings.notifications, " ", this.count);
    this.readAll = h("button", { class: "quiet", part: "read-all", type: "button", onclick: acts.readAll }, strings.readAll);
    this.gear = h("button", { class: "icon", type: "button", "aria-label": strings.preferences, title: strings.preferences, onclick: acts.preferences }, icon("sliders"));
    this.shelf = h("button", { class: "icon", type: "button", "aria-label": strings.archiveHeading, title: strings.archiveHeading, onclick: acts.archive }, icon("archive"));
    this.back = h("button", { class: "icon back", type: "button", "aria-label": strings.back, title: strings.back, onclick: acts.back, hidden: true }, icon("back"));
    this.line = h("div", { class: "notice", part: "notice", hidden: true });
    this.older = h("button", { class: "older", part: "older", type: "button", onclick: acts.older, hidden: true }, strings.older);
    this.state = h("div", { class: "state", part: "empty", hidden: true }, icon("tray", 44), h("strong", {}, strings.empty), h("span", {}, strings.emptyMore));
    this.bones = h("div", { hidden: true, role: "status", "aria-label": strings.loading }, ...Array.from({ length: 6 }, () => h("div", { class: "bone" })));
    this.listBody = h("div", { class: "body" }, list, this.older, this.state, this.bones);
    this.wishesBody = h("div", { class: "body", hidden: true });
    this.panel = h("div", { class: "panel", part: "panel", id: "panel", role: "dialog", "aria-labelledby": "heading", tabindex: -1 },
      h("div", { class: "head", part: "head" }, this.back, this.heading, this.readAll, this.shelf, this.gear),
      this.line, this.listBody, this.wishesBody);
    this.news = h("p", { class: "unseen", "aria-live": "polite", role: "status" });
  }

  /** @param {Shown} shown */
  show({ unread, empty, state, everLive, more, reason }) {
    const { strings } = this;
    this.panel.dataset.state = state;
    this.badge.hidden = !unread;
    this.badge.textContent = unread > 99 ? "99+" : String(unread);
    this.bell.ariaLabel = unread ? fill(strings.bell, { count: unread }) : strings.notifications;
    this.count.textContent = unread ? fill(strings.unread, { count: unread }) : "";
    this.readAll.disabled = !unread || state !== "live";
    this.older.hidden = !more;
    this.state.hidden = !empty || !everLive || (more && unread > 0);
    this.bones.hidden = everLive || state === "ended" || state === "idle";
    this.#connection(state, everLive, reason);
  }

  /** @param {string} words @param {boolean} [bad] @param {{label: string, act: () => void}} [action] */
  notice(words, bad = false, action) {
    this.line.classList.toggle("bad", bad);
    this.line.dataset.kind = "notice";
    const button = action && h("button", { class: "quiet", type: "button", onclick: action.act }, action.label);
    this.line.replaceChildren(h("span", {}, words), ...(button ? [button] : []));
    this.line.hidden = false;
    this.say(words);
  }

  /** Nothing to say any more, but for what the connection says. */
  quiet() {
    if (this.line.dataset.kind === "notice") this.line.hidden = true;
  }

  /** To a screen reader. @param {string} words */
  say(words) {
    this.news.textContent = words;
  }

  ring() {
    this.bell.classList.remove("ring");
    void this.bell.offsetWidth; // restarts the animation
    this.bell.classList.add("ring");
  }

  /** To another view, or with null to the list again. @param {Node | null} view @param {string} [heading] */
  turn(view, heading = this.strings.notifications) {
    this.listBody.hidden = view !== null;
    this.wishesBody.hidden = view === null;
    this.back.hidden = view === null;
    this.readAll.hidden = this.shelf.hidden = this.gear.hidden = view !== null;
    this.heading.replaceChildren(heading, " ", view ? "" : this.count);
    this.wishesBody.replaceChildren(...(view ? [view] : []));
  }

  /** @param {string} state @param {boolean} everLive @param {string} reason */
  #connection(state, everLive, reason) {
    const words = state === "ended" ? fill(this.strings.ended, { reason })
      : state === "waiting" ? this.strings.offline
      : state === "connecting" && everLive ? this.strings.connecting : "";
    if (!words) {
      if (this.line.dataset.kind === "connection") this.line.hidden = true;
      return;
    }
    if (this.line.dataset.kind === "connection" && !this.line.hidden && this.line.textContent === words) return;
    this.line.dataset.kind = "connection";
    this.line.classList.toggle("bad", state === "ended");
    this.line.replaceChildren(h("span", {}, words));
    this.line.hidden = false;
  }
}

/** Below the bell and within the window; style by CSSOM, which every Content-Security-Policy allows. @param {HTMLElement} panel @param {HTMLElement} bell */
export function place(panel, bell) {
  const at = bell.getBoundingClientRect();
  const top = Math.min(at.bottom + 8, Math.max(8, innerHeight - LEAST_HEIGHT - 8));
  panel.style.maxHeight = `min(var(--outbox-height, 600px), ${innerHeight - top - 8}px)`;
  panel.style.top = `${top}px`;
  const { offsetWidth: width } = panel;
  const rtl = getComputedStyle(bell).direction === "rtl";
  const wanted = rtl ? at.left : at.right - width;
  panel.style.left = `${Math.max(8, Math.min(wanted, document.documentElement.clientWidth - width - 8))}px`;
}
