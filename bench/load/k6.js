// Load on a running installation, by k6: POSTs one by one and in batches, inbox pages, WebSockets that listen.
// docs/load-testing.md says how to run it and how to read it. It makes notifications for users load-0, load-1, …
import { check } from "k6";
import crypto from "k6/crypto";
import encoding from "k6/encoding";
import { scenario, vu } from "k6/execution";
import http from "k6/http";
import { Trend } from "k6/metrics";
import { WebSocket } from "k6/websockets";

const API = __ENV.API || "http://127.0.0.1:8080";
const GATEWAY = __ENV.GATEWAY || "http://127.0.0.1:8081";
const SECRET = __ENV.OUTBOX_JWT_SECRET;
const RATE = Number(__ENV.RATE || 200); // notifications a second, a fifth of them in batches
const SOCKETS = Number(__ENV.SOCKETS || 200);
const DURATION = __ENV.DURATION || "60s";
const BATCH = 20;

if (!SECRET) throw new Error("OUTBOX_JWT_SECRET is not set: the tokens of the load's users are signed with it");

const toArrival = new Trend("created_to_arrival", true);
const steady = (rate, exec) => ({
  executor: "constant-arrival-rate", rate, timeUnit: "1s", duration: DURATION, preAllocatedVUs: 50, maxVUs: 500, exec,
});

export const options = {
  scenarios: {
    post: steady(Math.ceil(RATE * 0.8), "post"),
    batch: steady(Math.ceil((RATE * 0.2) / BATCH), "batch"),
    read: steady(Math.ceil(RATE * 0.1), "read"),
    listen: { executor: "per-vu-iterations", vus: SOCKETS, iterations: 1, maxDuration: "24h", exec: "listen" },
  },
  thresholds: {
    http_req_failed: ["rate<0.001"],
    checks: ["rate>0.999"],
    dropped_iterations: ["count<1"], // k6 itself could not keep up
    "http_req_duration{scenario:post}": ["p(50)<50", "p(99)<500"],
    "http_req_duration{scenario:batch}": ["p(99)<1000"],
    "http_req_duration{scenario:read}": ["p(99)<500"],
    created_to_arrival: ["p(50)<250", "p(99)<2000"],
  },
};

function token(subject, scope) {
  const part = (value) => encoding.b64encode(JSON.stringify(value), "rawurl");
  const exp = Math.floor(Date.now() / 1000) + 86400;
  const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part({ sub: subject, scope, iss: "outbox", aud: "outbox", exp })}`;
  return `${signed}.${crypto.hmac("sha256", SECRET, signed, "base64rawurl")}`;
}

const headers = { authorization: `Bearer ${token("load", "producer")}`, "content-type": "application/json" };
const user = (number) => `load-${number % SOCKETS}`;
const notification = (number) => ({
  event_type: "load.test",
  user_id: user(number),
  channels: ["inapp"],
  payload: { title: `Load ${number}`, body: "It leaves our house tomorrow.", sent_at: Date.now() },
});

export function post() {
  const answer = http.post(`${API}/v1/notifications`, JSON.stringify(notification(scenario.iterationInTest)), { headers });
  check(answer, { "is taken": (told) => told.status === 202 });
}

export function batch() {
  const first = scenario.iterationInTest * BATCH;
  const notifications = Array.from({ length: BATCH }, (_, place) => notification(first + place));
  const answer = http.post(`${API}/v1/notifications:batch`, JSON.stringify({ notifications }), { headers });
  check(answer, { "batch is taken": (told) => told.status === 202 });
}

export function read() {
  const url = http.url`${API}/v1/users/${user(scenario.iterationInTest)}/inbox?limit=20`;
  check(http.get(url, { headers }), { "page is there": (told) => told.status === 200 });
}

// One socket for each of the users, until the others are done.
export function listen() {
  const socket = new WebSocket(`${GATEWAY.replace(/^http/, "ws")}/v1/ws`, "outbox.v1");
  let live = false;
  socket.onopen = () => socket.send(JSON.stringify({ type: "auth", token: token(user(vu.idInTest), "user"), cursor: null }));
  socket.onmessage = ({ data }) => {
    const frame = JSON.parse(data);
    if (frame.type === "synced") live = true;
    if (live && frame.type === "notification" && frame.payload.sent_at) toArrival.add(Date.now() - frame.payload.sent_at);
  };
  socket.onclose = () => check(live, { "socket was live": (told) => told });
  setTimeout(() => socket.close(), milliseconds(DURATION) + 2000);
}

function milliseconds(text) {
  const [, number, unit] = /^(\d+)(s|m|h)$/.exec(text);
  return Number(number) * { s: 1000, m: 60_000, h: 3_600_000 }[unit];
}
