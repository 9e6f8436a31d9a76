/**
 * A road is a way to the gateway's frames. This is the best one: a WebSocket.
 *
 * @typedef {object} Place where a road leads, and what it begins with
 * @property {string} gateway
 * @property {string} api
 * @property {string} token
 * @property {import("../protocol.js").Inbox} inbox as known so far
 * @property {(url: string, protocols: string) => WebSocket} open
 *
 * @typedef {object} Ears who listens
 * @property {(frame: any) => void} hear
 * @property {(closed: {code: number, reason: string}) => void} lost once, and not after a `close`
 *
 * @typedef {object} Road
 * @property {(frame: any) => void} ask for a change
 * @property {(token: string) => void} renew
 * @property {() => void} close
 */

const PING_MS = 25_000;
const SILENCE_MS = 10_000;

/** @param {Place} place @param {Ears} ears @returns {Road} */
export function openSocket({ gateway, token, inbox, open }, ears) {
  const url = gateway.replace(/^http/, "ws").replace(/\/$/, "") + "/v1/ws";
  const socket = open(url, "outbox.v1");
  /** @type {Record<"ping" | "dead", ReturnType<typeof setTimeout> | undefined>} */
  const timers = { ping: undefined, dead: undefined };
  let over = false;

  const ask = (/** @type {object} */ frame) => {
    if (socket.readyState === 1) socket.send(JSON.stringify(frame));
  };
  const end = () => {
    over = true;
    clearTimeout(timers.ping);
    clearTimeout(timers.dead);
  };
  const lost = (/** @type {{code: number, reason: string}} */ closed) => {
    if (over) return;
    end();
    socket.close();
    ears.lost(closed);
  };
  /** A browser cannot see WebSocket's own pings, so a connection that died silently is found by asking. */
  const listenForSilence = () => {
    clearTimeout(timers.ping);
    clearTimeout(timers.dead);
    timers.ping = setTimeout(() => {
      ask({ type: "ping" });
      timers.dead = setTimeout(() => lost({ code: 1006, reason: "" }), SILENCE_MS);
    }, PING_MS);
  };

  socket.onopen = () => ask({ type: "auth", token, cursor: inbox.cursor });
  socket.onmessage = (event) => {
    if (over) return;
    listenForSilence();
    ears.hear(JSON.parse(event.data));
  };
  socket.onclose = lost;
  return {
    ask,
    renew: (fresh) => ask({ type: "auth", token: fresh, cursor: null }),
    close: () => {
      end();
      socket.close();
    },
  };
}
