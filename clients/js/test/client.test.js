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

test("another user's token gets the whole of its inbox, and nothing that was asked before", async () => {
  const sockets = [];
  const open = () => {
    const socket = { readyState: 1, sent: [], send: (text) => socket.sent.push(JSON.parse(text)), close() {} };
    return sockets[sockets.push(socket) - 1];
  };
  const client = new InboxClient({ gateway: "http://localhost", token: "t", open });
  const hear = (socket, frame) =>
    socket.onmessage({ data: JSON.stringify({ unread: 0, version: 1, last_seq: 7, ...frame }) });
  client.connect();
  await turn();
  hear(sockets[0], { type: "welcome", user_id: "ada", resumed: false });
  hear(sockets[0], { type: "synced" });
  sockets[0].onclose({ code: 1012, reason: "retry_ms=0" });
  client.archive(3);
  await new Promise((resolve) => setTimeout(resolve, 5));
  await turn();
  sockets[1].onopen();
  assert.deepEqual(sockets[1].sent, [{ type: "auth", token: "t", cursor: 7 }]);
  hear(sockets[1], { type: "welcome", user_id: "bob", resumed: true });
  await turn();
  sockets[2].onopen();
  assert.deepEqual(sockets[2].sent, [{ type: "auth", token: "t", cursor: null }]);
  hear(sockets[2], { type: "welcome", user_id: "bob", resumed: false });
  hear(sockets[2], { type: "synced" });
  assert.deepEqual([client.state, sockets[1].sent.length, sockets[2].sent.length], ["live", 1, 1]);
  client.close();
});

test("a token that comes after the end renews nothing", async () => {
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const token = () => `h.${Buffer.from(JSON.stringify({ exp: Date.now() / 1000 + 10 })).toString("base64url")}.s`;
  let asked = 0;
  let give;
  const socket = { readyState: 1, send() {}, close() {} };
  const options = { gateway: "http://localhost", open: () => socket };
  const client = new InboxClient({
    ...options,
    token: () => (asked++ ? new Promise((resolve) => (give = () => resolve(token()))) : token()),
  });
  client.connect();
  await turn();
  mock.timers.tick(5_000); // half-way
  client.close();
  give();
  await turn();
  mock.timers.tick(60_000);
  assert.equal(asked, 2);
  mock.timers.reset();
});
