import { ApiError, UserApi } from "../api.js";
import { subject } from "../protocol.js";
import { Changes } from "./changes.js";
import { codeOf } from "./events.js";

/**
 * Where nothing lasts, or no gateway answers: the inbox by the API, looked at now and then. It makes the frames that a
 * gateway would send.
 *
 * @typedef {import("../protocol.js").Item} Item
 * @typedef {import("../protocol.js").Inbox} Inbox
 * @typedef {import("./socket.js").Place} Place
 * @typedef {import("./socket.js").Ears} Ears
 * @typedef {import("./socket.js").Road} Road
 * @typedef {{unread: number, version: number, last_seq: number}} Counts
 */

const POLL_MS = 15_000;
const FIRST = 50; // of somebody who has seen nothing yet
const PAGE = 200;
const PAGES = 20; // who missed more than these begins anew, with the newest
/** The list of a `changed` that a change ends up in. @type {Record<string, string>} */
const LISTS = {
  read: "read", unread: "unread_again", archive: "archived", unarchive: "unarchived", read_all: "read", archive_all: "archived",
};

/** @param {Place} place @param {Ears} ears @returns {Road} */
export function openPoll(place, ears) {
  const { inbox } = place;
  const userId = subject(place.token) ?? "";
  let token = place.token;
  let over = false;
  let seen = -1; // the version that was looked at last
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const api = new UserApi(place.api, async () => token, () => userId);
  const hear = (/** @type {any} */ frame) => over || ears.hear(frame);
  const changes = new Changes(api, hear, (frame, told) => {
    const seqs = frame.seqs ?? [...inbox.items.keys()].filter((seq) => seq <= frame.up_to);
    hear({ type: "changed", [LISTS[frame.type]]: seqs, unread: told.unread, version: told.version });
  });
  const end = () => {
    over = true;
    clearTimeout(timer);
  };

  const look = async () => {
    try {
      const counts = await api.count();
      if (counts.version !== seen) {
        if (seen < 0 || counts.version < seen) hear(welcome(userId, inbox, counts));
        const frames = await missed(api, inbox);
        if (frames === null) hear({ ...welcome(userId, inbox, counts), resumed: false });
        for (const frame of frames ?? (await missed(api, inbox)) ?? []) hear(frame);
        seen = counts.version;
      }
      if (!over) timer = setTimeout(() => void look(), POLL_MS);
    } catch (error) {
      if (over) return;
      end();
      const { status, kind, message } = error instanceof ApiError ? error : new ApiError(0, String(error));
      ears.lost({ code: codeOf(status, kind), reason: message });
    }
  };
  void look();
  return { ask: (frame) => changes.make(frame), renew: (fresh) => void (token = fresh), close: end };
}

/** @param {string} userId @param {Inbox} inbox @param {Counts} counts */
function welcome(userId, inbox, { unread, version, last_seq }) {
  const resumed = inbox.cursor !== null && inbox.cursor <= last_seq && inbox.version <= version;
  return { type: "welcome", user_id: userId, unread, version, last_seq, resumed };
}

/**
 * How things stand: what is known, and what is new. null: more was missed than one would read.
 *
 * @param {UserApi} api @param {Inbox} inbox @returns {Promise<any[] | null>}
 */
async function missed(api, inbox) {
  const after = inbox.cursor;
  const { items, next_cursor, unread, version, last_seq } = await api.older({ limit: after === null ? FIRST : PAGE });
  let next = next_cursor;
  for (let page = 1; after !== null && next !== null && Number(next) > after + 1; page += 1) {
    if (page === PAGES) return null;
    const older = await api.older({ cursor: next, limit: PAGE });
    items.push(...older.items);
    next = older.next_cursor;
  }
  const fresh = items.filter((item) => after === null || item.seq > after).reverse();
  return [
    { type: "changed", ...standing(inbox, items, next === null ? 0 : Number(next)), unread, version },
    ...fresh.map((item) => ({ type: "notification", ...item, unread, version })),
    { type: "synced", last_seq, unread, version },
  ];
}

/**
 * The items known here, as they are now; what is not listed any more is archived.
 *
 * @param {Inbox} inbox @param {Item[]} items @param {number} from the seq from which on all were looked at
 */
function standing(inbox, items, from) {
  const listed = new Set(items.map((item) => item.seq));
  const seqs = (/** @type {(item: Item) => boolean} */ holds) => items.filter(holds).map((item) => item.seq);
  return {
    read: seqs((item) => item.read_at !== null),
    unread_again: seqs((item) => item.read_at === null),
    unarchived: [...listed],
    archived: [...inbox.items.keys()].filter((seq) => seq >= from && !listed.has(seq)),
  };
}
