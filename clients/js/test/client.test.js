import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { InboxClient } from "../src/client.js";

const turn = () => new Promise((resolve) => setImmediate(resolve));

test("a connection that never says a word is given up", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const opened = [];
  const open = () => opened[opened.push({ readyState: 1, send() {}, close() {} }) - 1];
  const client = new InboxClient({ gateway: "http://localhost", token: "t", open });
  client.connect();
  await turn();
  opened[0].onopen();
  mock.timers.tick(15_000);
  assert.equal(client.state, "waiting");
  mock.timers.tick(1_000);
  await turn();
  assert.equal(opened.length, 2);
  client.close();
  mock.timers.reset();
});

test("a connection that falls silent is given up", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const sent = [];
  const socket = { readyState: 1, send: (text) => sent.push(JSON.parse(text).type), close() {} };
  const client = new InboxClient({ gateway: "http://localhost", token: "t", open: () => socket });
  client.connect();
  await turn();
  socket.onmessage({ data: JSON.stringify({ type: "synced", unread: 0, version: 1, last_seq: 0 }) });
  mock.timers.tick(25_000); // it asks
  assert.deepEqual([client.state, sent], ["live", ["ping"]]);
  mock.timers.tick(10_000); // and nobody answers
  assert.equal(client.state, "waiting");
  client.close();
  mock.timers.reset();
});

test("what was asked about items that are no more is not sent", async () => {
  const sent = [];
  const socket = { readyState: 1, send: (text) => sent.push(JSON.parse(text).type), close() {} };
  const client = new InboxClient({ gateway: "http://localhost", token: "t", cursor: 3, open: () => socket });
  client.read(3);
  client.connect();
  await turn();
  const hear = (frame) => socket.onmessage({ data: JSON.stringify({ unread: 0, version: 1, last_seq: 0, ...frame }) });
  hear({ type: "welcome", user_id: "ada", resumed: false });
  hear({ type: "synced" });
  assert.equal(client.state, "live");
  assert.deepEqual(sent, []);
  client.close();
});
