import assert from "node:assert/strict";
import { test } from "node:test";

import { Inbox, expiry, pause } from "../src/protocol.js";

const item = (seq, unread, version, more = {}) => ({
  type: "notification", seq, notification_id: "n" + seq, event_type: "a", actor_user_id: null, payload: {},
  created_at: "2026-01-01T00:00:00Z", delivered_at: "2026-01-01T00:00:00Z", read_at: null, archived_at: null,
  unread, version, ...more,
});

test("newest first, and each once", () => {
  const inbox = new Inbox();
  assert.equal(inbox.take(item(1, 1, 1)).kind, "item");
  inbox.take(item(2, 2, 2));
  assert.equal(inbox.take(item(2, 2, 2)).kind, "marks");
  assert.deepEqual(inbox.list().map((each) => each.seq), [2, 1]);
  assert.equal(inbox.cursor, 2);
  assert.equal("unread" in inbox.list()[0], false);
});

test("the count of an older version is none", () => {
  const inbox = new Inbox();
  inbox.take({ type: "synced", last_seq: 9, unread: 4, version: 7 });
  inbox.take({ type: "changed", read: [], archived: [], unread: 9, version: 6 });
  assert.equal(inbox.unread, 4);
});

test("marks, there and back", () => {
  const inbox = new Inbox();
  inbox.take(item(1, 1, 1));
  inbox.take({ type: "changed", read: [1, 99], archived: [1], unread: 0, version: 2 });
  assert.equal(inbox.list().length, 0);
  assert.ok(inbox.items.get(1).read_at);
  inbox.take({ type: "changed", unread_again: [1], unarchived: [1], unread: 1, version: 3 });
  assert.equal(inbox.list()[0].read_at, null);
  assert.equal(inbox.unread, 1);
});

test("another inbox, or another user, begins anew", () => {
  const inbox = new Inbox();
  const welcome = { type: "welcome", user_id: "ada", unread: 0, version: 1, last_seq: 1, resumed: true };
  inbox.take(welcome);
  inbox.take(item(1, 1, 9));
  assert.equal(inbox.take({ ...welcome, resumed: false }).kind, "reset");
  assert.deepEqual([inbox.cursor, inbox.version, inbox.items.size], [null, 1, 0]);
  inbox.take(item(1, 1, 9));
  assert.equal(inbox.take({ ...welcome, user_id: "bob" }).kind, "stranger");
  assert.deepEqual([inbox.items.size, inbox.cursor], [0, null]);
});

test("what was fetched does not overwrite what is known", () => {
  const inbox = new Inbox();
  inbox.take(item(2, 1, 1, { read_at: "2026-01-02T00:00:00Z" }));
  assert.equal(inbox.add([item(2, 0, 0), item(1, 0, 0)]), 1);
  assert.ok(inbox.items.get(2).read_at);
});

test("a frame or a field that is not known does no harm", () => {
  const inbox = new Inbox();
  assert.equal(inbox.take({ type: "weather", version: 3 }).kind, "nothing");
  assert.equal(inbox.version, -1);
});

test("pauses", () => {
  const lost = { code: 1006, reason: "" };
  for (let failures = 1; failures < 100; failures += 1) {
    const most = Math.min(30_000, 500 * 2 ** (failures - 1));
    const ms = pause(failures, lost);
    assert.ok(ms >= most / 2 && ms <= most, `${failures}: ${ms}`);
  }
  assert.equal(pause(1, { code: 1012, reason: "retry_ms=1234" }), 1234);
  assert.ok(pause(1, { code: 1012, reason: "retry_ms=99999999" }) <= 500);
  assert.equal(pause(1, { code: 4419, reason: "" }), 0);
  assert.ok(pause(2, { code: 4419, reason: "" }) > 0);
});

test("when a token expires", () => {
  const token = (claims) => `h.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.s`;
  assert.equal(expiry(token({ exp: 5, sub: "ä?>" })), 5000);
  for (const odd of ["", "a.b", token({}), token({ exp: "x" })]) assert.equal(expiry(odd), null);
});

test("what is taken out of the archive is where it belongs, if its neighbours are known", () => {
  const inbox = new Inbox();
  const shelved = (seq) => item(seq, 0, 1, { archived_at: "2026-01-02T00:00:00Z" });
  inbox.add([item(8, 0, 1), shelved(9)]);
  inbox.keep([shelved(9), shelved(10), shelved(3)]);
  assert.deepEqual(inbox.archived().map(({ seq }) => seq), [10, 9, 3]);
  inbox.take({ type: "changed", unarchived: [3, 9, 10], unread: 0, version: 2 });
  assert.deepEqual(inbox.archived(), []);
  assert.deepEqual(inbox.list().map(({ seq }) => seq), [10, 9, 8]);
  inbox.keep([shelved(2)]);
  inbox.forget();
  assert.deepEqual(inbox.archived(), []);
});
