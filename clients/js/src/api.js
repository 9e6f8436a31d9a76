/**
 * The user's part of the HTTP API: older items and preferences.
 *
 * @typedef {import("./protocol.js").Item} Item
 *
 * @typedef {object} Preference
 * @property {string} channel
 * @property {string} event_type an event type, a category like `order.*`, or `*`
 * @property {boolean} enabled
 * @property {Record<string, unknown>} constraints
 */

/** The API refused, or did not answer (`status` 0). */
export class ApiError extends Error {
  /** @param {number} status @param {string} detail */
  constructor(status, detail) {
    super(detail);
    this.status = status;
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
   * @param {{cursor?: string | null, limit?: number}} [page]
   * @returns {Promise<{items: Item[], next_cursor: string | null}>}
   */
  async older({ cursor = null, limit = 50 } = {}) {
    const query = new URLSearchParams({ limit: String(limit) });
    if (cursor !== null) query.set("cursor", cursor);
    return this.#ask("GET", `inbox?${query}`);
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
    if (!answer.ok) throw new ApiError(answer.status, told.detail ?? answer.statusText);
    return told;
  }
}
