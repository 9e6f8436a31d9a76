/**
 * The user's part of the HTTP API: items, counts, what is read and archived, and preferences.
 *
 * @typedef {import("./protocol.js").Item} Item
 *
 * @typedef {object} Preference
 * @property {string} channel
 * @property {string} event_type an event type, a category like `order.*`, or `*`
 * @property {boolean} enabled
 * @property {Record<string, unknown>} constraints
 */

/** The API refused, or did not answer (`status` 0). `kind`: the problem's type; "" where a proxy answered. */
export class ApiError extends Error {
  /** @param {number} status @param {string} detail @param {string} [kind] */
  constructor(status, detail, kind = "") {
    super(detail);
    this.status = status;
    this.kind = kind;
  }
}

export class UserApi {
  /**
   * @param {string} url of the API, as https://notify.example.com
   * @param {() => Promise<string>} token
   * @param {() => string} userId known once the gateway has said welcome
   */
  constructor(url, token, userId) {
    this.url = url.replace(/\/$/, "");
    this.token = token;
    this.userId = userId;
  }

  /**
   * A page of the inbox, newest first.
   *
   * @param {{cursor?: string | null, limit?: number, archived?: boolean}} [page] archived: those alone
   * @returns {Promise<{items: Item[], next_cursor: string | null, unread: number, version: number, last_seq: number}>}
   */
  async older({ cursor = null, limit = 50, archived = false } = {}) {
    const query = new URLSearchParams({ limit: String(limit) });
    if (cursor !== null) query.set("cursor", cursor);
    if (archived) query.set("archived", "true");
    return this.#ask("GET", `inbox?${query}`);
  }

  /** Exact, and of one moment. @returns {Promise<{unread: number, total: number, version: number, last_seq: number}>} */
  async count() {
    return this.#ask("GET", "inbox/count");
  }

  /**
   * @param {string} verb as the path has it: read, archive-all
   * @param {{seqs?: number[], up_to?: number}} which
   * @returns {Promise<{changed: boolean, unread: number, version: number, last_seq: number}>}
   */
  async mark(verb, which) {
    return this.#ask("POST", `inbox:${verb}`, which);
  }

  /** @returns {Promise<Preference[]>} */
  async preferences() {
    return (await this.#ask("GET", "preferences")).preferences;
  }

  /** Replaces all of them. @param {Preference[]} preferences @returns {Promise<Preference[]>} */
  async setPreferences(preferences) {
    const wishes = preferences.map(({ channel, event_type, enabled, constraints }) => ({
      channel, event_type, enabled, constraints,
    }));
    return (await this.#ask("PUT", "preferences", { preferences: wishes })).preferences;
  }

  /** @param {string} method @param {string} path @param {unknown} [body] @returns {Promise<any>} */
  async #ask(method, path, body) {
    const url = `${this.url}/v1/users/${encodeURIComponent(this.userId())}/${path}`;
    const headers = { authorization: `Bearer ${await this.token()}`, "content-type": "application/json" };
    const content = body === undefined ? undefined : JSON.stringify(body);
    let answer;
    try {
      answer = await fetch(url, { method, headers, body: content, credentials: "omit" });
    } catch (error) {
      throw new ApiError(0, String(error));
    }
    const told = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new ApiError(answer.status, told.detail ?? answer.statusText, told.type);
    return told;
  }
}
