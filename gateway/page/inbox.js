// The development inbox: a small client that keeps the rules of docs/realtime.md. No dependencies, no build.
"use strict";

const CLOSE = { BAD_FRAMES: 4400, UNAUTHENTICATED: 4401, FORBIDDEN: 4403, TOKEN_EXPIRED: 4419, RESTARTING: 1012 };
const FINAL = new Set([CLOSE.BAD_FRAMES, CLOSE.UNAUTHENTICATED, CLOSE.FORBIDDEN, CLOSE.TOKEN_EXPIRED]);
const SHOWN = 200;
const PING_MS = 25000;
const SILENCE_MS = 10000;
const MAX_BACKOFF_MS = 30000;

const $ = (id) => document.getElementById(id);
const items = new Map(); // seq -> { frame, read, archived, node }
let socket = null;
let token = null;
let cursor = null; // the last seq seen; null: only the newest, please
let version = -1;
let unread = 0;
let failures = 0;
let retryTimer = 0;
let pingTimer = 0;
let deadTimer = 0;
let synced = false;

// ---- the connection

function connect() {
  clearTimeout(retryTimer);
  setState("waiting", failures ? "Reconnecting…" : "Connecting…");
  synced = false;
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const ws = (socket = new WebSocket(`${scheme}//${location.host}/v1/ws`, "outbox.v1"));
  ws.onopen = () => ws.send(JSON.stringify({ type: "auth", token, cursor }));
  ws.onmessage = (event) => ws === socket && take(JSON.parse(event.data));
  ws.onclose = (event) => ws === socket && closed(event);
}

function closed(event) {
  stopPinging();
  socket = null;
  if (FINAL.has(event.code)) {
    sessionStorage.removeItem("token");
    forget();
    setState("ended", "Signed out");
    askForToken(sentence(event.reason || "the token was refused"));
    return;
  }
  failures += 1;
  const told = event.code === CLOSE.RESTARTING && /^retry_ms=(\d+)$/.exec(event.reason);
  const most = Math.min(MAX_BACKOFF_MS, 500 * 2 ** Math.min(failures, 8));
  const pause = told ? Number(told[1]) : most / 2 + Math.random() * (most / 2);
  setState("waiting", "Reconnecting…");
  retryTimer = setTimeout(connect, pause);
}

const sentence = (words) => `${words.charAt(0).toUpperCase()}${words.slice(1)}.`;

function send(frame) {
  if (socket && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(frame));
}

// A browser cannot see WebSocket's own pings, so a connection that died silently is found by asking.
function startPinging() {
  stopPinging();
  pingTimer = setInterval(() => {
    send({ type: "ping" });
    deadTimer = deadTimer || setTimeout(hangUp, SILENCE_MS);
  }, PING_MS);
}

function stopPinging() {
  clearInterval(pingTimer);
  clearTimeout(deadTimer);
  deadTimer = 0;
}

function hangUp() {
  const silent = socket;
  if (!silent) return;
  closed({ code: 1006, reason: "" });
  silent.close();
}

// ---- the protocol

function take(frame) {
  clearTimeout(deadTimer);
  deadTimer = 0;
  switch (frame.type) {
    case "welcome":
      if (!frame.resumed) forget();
      showUser(frame.user_id);
      startPinging();
      break;
    case "notification":
      put(frame);
      cursor = frame.seq;
      count(frame);
      break;
    case "changed":
      mark(frame.read, "read", true);
      mark(frame.unread_again, "read", false);
      mark(frame.archived, "archived", true);
      mark(frame.unarchived, "archived", false);
      count(frame);
      break;
    case "synced":
      cursor = frame.last_seq;
      count(frame);
      if (!synced) {
        synced = true;
        failures = 0;
        setState("live", "Live");
      }
      break;
    case "error":
      $("news").textContent = frame.detail;
      break;
  }
  render();
}

// A count with a lower version is an old one.
function count(frame) {
  if (frame.version < version) return;
  version = frame.version;
  unread = frame.unread;
}

function put(frame) {
  if (items.has(frame.seq)) return;
  const item = { frame, read: frame.read_at !== null, archived: frame.archived_at !== null };
  item.node = draw(item);
  items.set(frame.seq, item);
  $("items").prepend(item.node);
  if (synced && !item.read) announce(item);
  if (items.size > SHOWN) drop(Math.min(...items.keys()));
}

function mark(seqs, what, is) {
  for (const seq of seqs) {
    const item = items.get(seq);
    if (!item) continue;
    item[what] = is;
    item.node.classList.toggle("new", !item.read);
    item.node.hidden = item.archived;
  }
}

function drop(seq) {
  items.get(seq).node.remove();
  items.delete(seq);
}

function forget() {
  items.clear();
  $("items").replaceChildren();
  cursor = null;
  version = -1;
  unread = 0;
}

// ---- what is seen

function draw(item) {
  const { frame } = item;
  const { title, body, url } = frame.payload;
  const node = $("item").content.firstElementChild.cloneNode(true);
  const part = (name) => node.querySelector(`.${name}`);
  node.classList.toggle("new", !item.read);
  node.classList.toggle("arriving", synced);
  node.hidden = item.archived;
  part("title").textContent = text(title) || frame.event_type;
  part("body").textContent = text(body);
  part("body").hidden = !text(body);
  part("event").textContent = frame.event_type;
  const time = node.querySelector("time");
  time.dateTime = frame.created_at;
  time.title = new Date(frame.created_at).toLocaleString();
  time.textContent = ago(frame.created_at);
  const link = webLink(url);
  part("link").hidden = !link;
  if (link) part("link").href = link;
  part("tick").title = "Mark read";
  part("tick").setAttribute("aria-label", `Mark read: ${part("title").textContent}`);
  part("tick").addEventListener("click", () => {
    send({ type: "read", seqs: [frame.seq] });
    const next = node.nextElementSibling?.querySelector(".tick");
    if (document.activeElement === part("tick")) (next || $("bell")).focus();
  });
  return node;
}

const text = (value) => (typeof value === "string" || typeof value === "number" ? String(value) : "");

// Only what a browser opens as a page: a payload must not bring javascript: or file: links.
function webLink(value) {
  try {
    const url = new URL(value);
    return url.protocol === "https:" || url.protocol === "http:" ? url.href : null;
  } catch {
    return null;
  }
}

const STEPS = [[60, "second"], [60, "minute"], [24, "hour"], [7, "day"], [4.35, "week"], [12, "month"], [Infinity, "year"]];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

function ago(moment) {
  let amount = (new Date(moment) - Date.now()) / 1000;
  if (amount > -45) return "just now";
  for (const [size, unit] of STEPS) {
    if (Math.abs(amount) < size) return relative.format(Math.round(amount), unit);
    amount /= size;
  }
  return "";
}

function announce(item) {
  $("news").textContent = `New: ${text(item.frame.payload.title) || item.frame.event_type}`;
  $("bell").classList.remove("ring");
  void $("bell").offsetWidth; // restart the animation
  $("bell").classList.add("ring");
}

function render() {
  document.title = unread ? `(${unread}) Outbox` : "Outbox";
  $("badge").hidden = !unread;
  $("badge").textContent = unread > 99 ? "99+" : unread;
  $("bell").setAttribute("aria-label", unread ? `Notifications, ${unread} unread` : "Notifications");
  $("unread").textContent = unread ? `${unread} unread` : "";
  $("read-all").disabled = !unread || !synced;
  const visible = [...items.values()].some((item) => !item.archived);
  $("empty").hidden = visible || !synced;
}

function setState(state, words) {
  $("state").dataset.state = state;
  $("state-text").textContent = words;
  if (state !== "live") $("read-all").disabled = true;
}

function showUser(name) {
  $("user").textContent = name;
  $("user").title = name;
  $("user").hidden = false;
}

function togglePanel() {
  const open = $("panel").hidden;
  $("panel").hidden = !open;
  $("bell").setAttribute("aria-expanded", String(open));
}

// ---- the way in

function askForToken(why) {
  $("panel").hidden = true;
  $("user").hidden = $("bell").hidden = true;
  $("enter").hidden = false;
  $("enter-error").hidden = !why;
  $("enter-error").textContent = why || "";
  $("token").focus();
  render();
}

function enter(given) {
  if (socket) {
    const old = socket;
    socket = null;
    old.close();
  }
  token = given;
  sessionStorage.setItem("token", token);
  forget();
  failures = 0;
  $("token").value = "";
  $("enter").hidden = true;
  $("panel").hidden = $("bell").hidden = false;
  $("bell").setAttribute("aria-expanded", "true");
  connect();
}

// The fragment never leaves the browser; it is taken out of the address bar and the history at once.
function fromFragment() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) history.replaceState(null, "", location.pathname);
  return given;
}

$("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  enter($("token").value.trim());
});
$("read-all").addEventListener("click", () => send({ type: "read_all", up_to: cursor }));
$("bell").addEventListener("click", () => $("enter").hidden && togglePanel());
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !$("panel").hidden) {
    togglePanel();
    $("bell").focus();
  }
});
window.addEventListener("hashchange", () => {
  const given = fromFragment();
  if (given) enter(given);
});
window.addEventListener("online", () => !socket && token && $("enter").hidden && connect());
setInterval(() => {
  for (const item of items.values()) item.node.querySelector("time").textContent = ago(item.frame.created_at);
}, 30000);

const first = fromFragment() || sessionStorage.getItem("token");
if (first) enter(first);
else askForToken();
