import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { InboxClient } from "../src/client.js";
import { Choice } from "../src/roads/choice.js";
import { EventStream } from "../src/roads/events.js";

const turns = async (number = 20) => {
  for (let turn = 0; turn < number; turn += 1) await new Promise((resolve) => setImmediate(resolve));
};
const WELCOME = { type: "welcome", user_id: "ada", unread: 0, version: 1, last_seq: 0, resumed: false };
const SYNCED = { type: "synced", last_seq: 0, unread: 0, version: 1 };
const events = (...frames) => frames.map((frame) => `data: ${JSON.stringify(frame)}\n\n`).join("");

test("events are the same in whatever pieces they come", () => {
  const text = ': hi\n\nretry: 5\n\nid: 1\ndata: {"a":1}\n\ndata:x\r\ndata: y\r\n\r\n';
  for (let size = 1; size < text.length; size += 1) {
    const stream = new EventStream();
    const found = [];
    for (let at = 0; at < text.length; at += size) found.push(...stream.feed(text.slice(at, at + size)));
    assert.deepEqual(found, ['{"a":1}', "x\ny"]);
  }
});

test("a road without a word is left, one that has served later, and after the last comes the first", () => {
  const choice = new Choice(3);
  const after = (misses) => {
    for (let miss = 0; miss < misses; miss += 1) choice.missed();
    return choice.index;
  };
  assert.deepEqual([after(1), after(1)], [0, 1]);
  choice.heard();
  assert.deepEqual([after(4), after(1)], [1, 2]);
  assert.deepEqual([after(1), after(1)], [2, 0]);
  choice.heard();
  assert.equal(after(4), 0);
  choice.heard(); // what was missed before does not count any more
  assert.equal(after(4), 0);
});

test("where WebSockets are blocked events serve, and a WebSocket again once it answers", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const encoder = new TextEncoder();
  let stream;
  const asked = mock.method(globalThis, "fetch", async (url, { signal }) => {
    const body = new ReadableStream({
      start(controller) {
        stream = controller;
        controller.enqueue(encoder.encode(events(WELCOME, SYNCED)));
        signal.addEventListener("abort", () => controller.error(new Error("aborted")));
      },
    });
    return new Response(body);
  });
  const aMinute = async () => {
    for (let times = 0; times < 4; times += 1) {
      stream.enqueue(encoder.encode(": \n\n"));
      await turns();
      mock.timers.tick(15_000);
    }
    await turns();
  };
  let blocked = true;
  const sockets = [];
  const open = () => {
    const socket = { readyState: 1, send() {}, close() {} };
    sockets.push(socket);
    setImmediate(() => {
      if (blocked) return socket.onclose({ code: 1006, reason: "" });
      socket.onopen();
      for (const frame of [WELCOME, SYNCED]) socket.onmessage({ data: JSON.stringify(frame) });
    });
    return socket;
  };
  const client = new InboxClient({ gateway: "http://localhost", token: "t", open });
  const states = [];
  client.addEventListener("state", ({ detail }) => states.push(detail));
  client.connect();
  for (let times = 0; times < 3; times += 1) {
    await turns();
    mock.timers.tick(2_000);
  }
  await turns();
  assert.deepEqual([client.road, client.state, sockets.length], ["events", "live", 2]);
  await aMinute(); // still blocked
  assert.deepEqual([client.road, client.state, sockets.length], ["events", "live", 3]);
  blocked = false;
  await aMinute();
  assert.deepEqual([client.road, client.state, sockets.length], ["websocket", "live", 5]);
  assert.deepEqual(states, ["connecting", "waiting", "live"]);
  assert.equal(asked.mock.callCount(), 1);
  client.close();
  mock.timers.reset();
  mock.restoreAll();
});
