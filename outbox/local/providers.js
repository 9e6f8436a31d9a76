// The page of the doubles: looks every second for what came, shows the chosen message, orders faults.
"use strict";

const LIMIT = 100;
const LABELS = {
  twilio: ["Twilio", "SMS"], sendgrid: ["SendGrid", "e-mail"], fcm: ["FCM", "push"], apns: ["APNs", "push"],
  webhook: ["Receiver", "webhooks"],
};
const FAULTS = new Map([
  ["slow", "answers after 3 seconds"],
  ["503", "answers 503"],
  ["429", "answers 429"],
  ["hang", "never answers"],
  ["reset", "resets connections"],
]);
const cards = new Map();
let came;
let shown = null;
let view = "text";

const label = (name) => (LABELS[name] || [name, ""])[0];

function button(text, title, order) {
  const made = make("button", "", text);
  made.type = "button";
  made.title = title;
  made.addEventListener("click", async () => { await order(); await look(); });
  return made;
}

function card(name) {
  const path = `/api/providers/${name}/fault`;
  const made = { root: make("div", "provider"), number: make("span", "number"), state: make("div", "state"), orders: new Map() };
  const top = make("div", "name");
  top.append(make("b", "", label(name)), make("span", "", (LABELS[name] || ["", ""])[1]), made.number);
  const row = make("div", "orders");
  for (const [fault, title] of FAULTS) {
    const order = () => fetch(path, { method: "PUT", body: JSON.stringify({ fault }) });
    made.orders.set(fault, button(fault[0].toUpperCase() + fault.slice(1), `From now on it ${title}`, order));
  }
  made.heal = button("Heal", "Answer as usual again", () => fetch(path, { method: "DELETE" }));
  made.heal.className = "heal";
  const line = make("div", "line");
  line.append(made.state, made.heal);
  row.append(...made.orders.values());
  made.root.append(top, line, row);
  at("providers").append(made.root);
  return made;
}

function draw(provider) {
  if (!cards.has(provider.name)) cards.set(provider.name, card(provider.name));
  const found = cards.get(provider.name);
  found.root.classList.toggle("ill", Boolean(provider.fault));
  found.root.title = provider.url;
  found.number.textContent = provider.kept.toLocaleString();
  found.state.textContent = provider.fault ? FAULTS.get(provider.fault) || "fails as ordered elsewhere"
    : "answers as documented";
  for (const [fault, order] of found.orders) order.setAttribute("aria-pressed", String(fault === provider.fault));
  found.heal.hidden = !provider.fault;
}

function row(message) {
  const link = make("a");
  link.href = `#${message.provider}/${message.number}`;
  const top = make("div", "top");
  top.append(make("span", "badge", label(message.provider)), make("span", "to", message.to), moment(message.at));
  link.append(top, make("div", "subject", message.title || message.text || "(empty)"));
  if (message.title && message.text) link.append(make("div", "text", message.text));
  const item = make("li");
  item.append(link);
  return item;
}

async function load() {
  const query = at("query").value.trim();
  const { messages } = await get(`/api/messages?limit=${LIMIT}&query=${encodeURIComponent(query)}`);
  at("list").replaceChildren(...messages.map(row));
  at("none").hidden = messages.length > 0;
  at("none").textContent = query ? "Nothing that matches."
    : "Nothing yet. Text messages, pushes and webhooks show up here, and go nowhere else. E-mail is on the mail sink's page.";
  mark();
}

async function look() {
  try {
    const { providers } = await get("/api/providers");
    providers.forEach(draw);
    const total = providers.reduce((sum, each) => sum + each.kept, 0);
    at("count").textContent = `${total.toLocaleString()} received`;
    const now = providers.map((each) => `${each.kept}/${each.total}`).join();
    if (now !== came) {
      came = now;
      await load();
    }
  } catch {
    at("count").textContent = "the doubles do not answer";
  }
}

async function choose() {
  const id = location.hash.slice(1);
  mark();
  try {
    shown = /^[a-z]+\/\d+$/.test(id) ? await get(`/api/messages/${id}`) : null;
  } catch {
    shown = null;
  }
  at("message").hidden = !shown;
  at("hint").hidden = Boolean(shown);
  if (!shown) return;
  at("title").textContent = shown.title || shown.text || "(empty)";
  facts(at("facts"), [["Provider", label(shown.provider)], ["To", shown.to], ["Received", day.format(shown.at * 1000)],
    ["Id", shown.id]]);
  turn(view);
}

function turn(to) {
  view = to;
  for (const name of ["text", "request"]) at(`tab-${name}`).setAttribute("aria-selected", String(name === view));
  const text = view === "text" ? pretty(shown.text) : JSON.stringify(shown.details, null, 2);
  at("view").replaceChildren(make("pre", "", text));
}

function pretty(text) {
  try {
    return /^\s*[[{]/.test(text) ? JSON.stringify(JSON.parse(text), null, 2) : text;
  } catch {
    return text;
  }
}

for (const name of ["text", "request"]) at(`tab-${name}`).addEventListener("click", () => turn(name));
at("query").addEventListener("input", load);
at("clear").addEventListener("click", async () => {
  if (!confirm("Delete all messages?")) return;
  await fetch("/api/messages", { method: "DELETE" });
  location.hash = "";
  await look();
});
addEventListener("hashchange", choose);
setInterval(() => { if (!document.hidden) look(); }, 1000);
look();
choose();
