import { UserApi } from "../api.js";
import { Changes } from "./changes.js";

/**
 * Where WebSockets are blocked: server-sent events, by fetch, so that the token is a header. Changes go over the API.
 *
 * @typedef {import("./socket.js").Place} Place
 * @typedef {import("./socket.js").Ears} Ears
 * @typedef {import("./socket.js").Road} Road
 */

const SILENCE_MS = 35_000; // a comment comes every 15 seconds
/** What a socket would have been closed with. @type {Record<number, number>} */
const CODES = { 400: 4400, 401: 4401, 403: 4403, 429: 4429, 503: 1013 };

/** Of an answer that is a problem document; any other is a proxy's, and says nothing. @param {number} status @param {string} kind */
export const codeOf = (status, kind) => (kind ? CODES[status] ?? 1006 : 1006);

/** @param {Place} place @param {Ears} ears @returns {Road} */
export function openEvents(place, ears) {
  const stop = new AbortController();
  let token = place.token;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let dead;
  const api = new UserApi(place.api, async () => token, () => place.inbox.userId);
  const changes = new Changes(api, ears.hear);

  const end = () => {
    clearTimeout(dead);
    stop.abort();
  };
  const lost = (/** @type {{code: number, reason: string}} */ closed) => {
    if (stop.signal.aborted) return;
    end();
    ears.lost(closed);
  };
  const hear = (/** @type {any} */ frame) => {
    if (frame.type === "closed") lost({ code: frame.code, reason: frame.retry_ms === null ? frame.reason : `retry_ms=${frame.retry_ms}` });
    else if (!stop.signal.aborted) ears.hear(frame);
  };
  const alive = () => {
    clearTimeout(dead);
    if (!stop.signal.aborted) dead = setTimeout(() => lost({ code: 1006, reason: "" }), SILENCE_MS);
  };

  void follow(place, stop.signal, alive, hear).then(lost, (error) => lost({ code: 1006, reason: String(error) }));
  return { ask: (frame) => changes.make(frame), renew: (fresh) => void (token = fresh), close: end };
}

/**
 * @param {Place} place @param {AbortSignal} signal @param {() => void} alive @param {(frame: any) => void} hear
 * @returns {Promise<{code: number, reason: string}>} how it ended
 */
async function follow({ gateway, token, inbox }, signal, alive, hear) {
  const query = inbox.cursor === null ? "" : `?cursor=${inbox.cursor}`;
  const headers = { authorization: `Bearer ${token}`, accept: "text/event-stream" };
  const url = `${gateway.replace(/\/$/, "")}/v1/events${query}`;
  const answer = await fetch(url, { headers, signal, credentials: "omit", cache: "no-store" });
  if (!answer.ok || !answer.body) {
    const told = await answer.json().catch(() => ({}));
    return { code: codeOf(answer.status, told.type), reason: String(told.detail ?? answer.statusText) };
  }
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  const stream = new EventStream();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return { code: 1006, reason: "" };
    alive();
    for (const data of stream.feed(value)) hear(JSON.parse(data));
  }
}

/** What comes in pieces of any size, cut into events (HTML standard, §9.2). Ids and names are not needed here. */
export class EventStream {
  #rest = "";
  /** @type {string[]} */
  #data = [];

  /** @param {string} text @returns {string[]} the data of each event that is complete now */
  feed(text) {
    const found = [];
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const raw of lines) {
      const line = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
      if (line.startsWith("data:")) this.#data.push(line.slice(line[5] === " " ? 6 : 5));
      else if (line === "" && this.#data.length) found.push(this.#data.splice(0).join("\n"));
    }
    return found;
  }
}
