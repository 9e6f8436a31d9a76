import { h } from "./dom.js";
import { fill } from "./strings.js";

/**
 * @typedef {import("../api.js").Preference} Preference
 * @typedef {import("../api.js").UserApi} UserApi
 * @typedef {import("./strings.js").Strings} Strings
 *
 * @typedef {object} Category what the user may decide on
 * @property {string} event_type an event type, a category like `order.*`, or `*`
 * @property {string} label
 */

/** Whether a channel is on for an event type: the nearest wish wins. @param {Preference[]} wishes @param {string} channel @param {string} type */
export function isOn(wishes, channel, type) {
  const nearest = wishes
    .filter((wish) => wish.channel === channel && covers(wish.event_type, type))
    .sort((a, b) => b.event_type.length - a.event_type.length)[0];
  return nearest?.enabled ?? true;
}

/** @param {string} pattern @param {string} type */
function covers(pattern, type) {
  return pattern === "*" || pattern === type || (pattern.endsWith(".*") && type.startsWith(pattern.slice(0, -1)));
}

/** The wishes with this one changed; its constraints, and all others, stay. @param {Preference[]} wishes @param {string} channel @param {string} type @param {boolean} enabled */
export function changed(wishes, channel, type, enabled) {
  const same = (/** @type {Preference} */ wish) => wish.channel === channel && wish.event_type === type;
  if (wishes.some(same)) return wishes.map((wish) => (same(wish) ? { ...wish, enabled } : wish));
  return [...wishes, { channel, event_type: type, enabled, constraints: {} }];
}

/** The switches. Each is stored as soon as it is moved, and moves back where that fails. */
export class PreferencesView {
  /**
   * @param {UserApi} api
   * @param {{channels: string[], categories: Category[], strings: Strings, say: (words: string, bad?: boolean) => void}} options
   */
  constructor(api, options) {
    this.api = api;
    this.options = options;
    /** @type {Preference[]} */
    this.wishes = [];
    this.node = h("div", { class: "wishes", part: "preferences" }, h("p", { class: "state" }, options.strings.loading));
  }

  async load() {
    this.wishes = await this.api.preferences();
    this.#draw();
  }

  #draw() {
    const { channels, categories } = this.options;
    this.node.replaceChildren(...categories.map(({ event_type, label }) =>
      h("fieldset", {}, h("legend", {}, label), ...channels.map((channel) => this.#wish(channel, event_type)))));
  }

  /** @param {string} channel @param {string} type */
  #wish(channel, type) {
    const names = /** @type {Record<string, string>} */ (this.options.strings);
    const input = h("input", { class: "switch", part: "switch", type: "checkbox", role: "switch" });
    input.checked = isOn(this.wishes, channel, type);
    input.addEventListener("change", () => void this.#store(channel, type, input));
    return h("label", { class: "wish" }, h("span", {}, names[channel] ?? channel), input);
  }

  /** Read anew first: they may have been changed elsewhere. @param {string} channel @param {string} type @param {HTMLInputElement} input */
  async #store(channel, type, input) {
    const { strings, say } = this.options;
    try {
      const current = await this.api.preferences();
      this.wishes = await this.api.setPreferences(changed(current, channel, type, input.checked));
      say(strings.saved);
    } catch (error) {
      input.checked = !input.checked;
      say(fill(strings.failed, { reason: /** @type {Error} */ (error).message }), true);
    }
  }
}
