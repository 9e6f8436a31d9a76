/** Changes over HTTP, where there is no socket to ask by: one after the other, as they were asked for. */

/** @type {Record<string, string>} */
const PATHS = {
  read: "read", unread: "unread", archive: "archive", unarchive: "unarchive", read_all: "read-all", archive_all: "archive-all",
};

export class Changes {
  /**
   * @param {import("../api.js").UserApi} api
   * @param {(frame: any) => void} hear what a socket would have answered where it cannot be done
   * @param {(frame: any, told: {unread: number, version: number}) => void} [done]
   */
  constructor(api, hear, done = () => {}) {
    this.api = api;
    this.hear = hear;
    this.done = done;
    /** @type {Promise<void>} */
    this.last = Promise.resolve();
  }

  /** @param {any} frame */
  make(frame) {
    this.last = this.last.then(() => this.#make(frame));
  }

  /** @param {any} frame */
  async #make({ type, ...body }) {
    try {
      this.done({ type, ...body }, await this.api.mark(PATHS[type], body));
    } catch (error) {
      this.hear({ type: "error", code: "unavailable", detail: /** @type {Error} */ (error).message });
    }
  }
}
