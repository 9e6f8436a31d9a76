// The mail sink's page: looks every second for new mail, shows the chosen one. Every text goes in as text.
"use strict";

const PAGE = 100;
let newest;
let shown = null;
let view = "html";

function row(mail) {
  const link = make("a");
  link.href = `#${mail.id}`;
  const top = make("div", "top");
  top.append(make("span", "to", mail.to), moment(mail.at));
  link.append(top, make("div", "subject", mail.subject || "(no subject)"));
  const item = make("li");
  item.append(link);
  return item;
}

async function load() {
  const query = at("query").value.trim();
  const { messages } = await get(`/api/messages?limit=${PAGE}&query=${encodeURIComponent(query)}`);
  at("list").replaceChildren(...messages.map(row));
  at("none").hidden = messages.length > 0;
  mark();
}

async function look() {
  try {
    const { total, distinct, newest: now } = await get("/api/messages/count");
    const twice = total - distinct;
    at("count").textContent = `${total.toLocaleString()} received` + (twice ? `, ${twice} of them repeats` : "");
    if (now !== newest) {
      newest = now;
      await load();
    }
  } catch {
    at("count").textContent = "the mail sink does not answer";
  }
}

function header(name) {
  const found = shown.headers.find(([key]) => key.toLowerCase() === name.toLowerCase());
  return found ? found[1] : "";
}

async function choose() {
  const id = location.hash.slice(1);
  mark();
  try {
    shown = /^\d+$/.test(id) ? await get(`/api/messages/${id}`) : null;
  } catch {
    shown = null;
  }
  at("mail").hidden = !shown;
  at("hint").hidden = Boolean(shown);
  if (!shown) return;
  at("subject").textContent = header("Subject") || "(no subject)";
  const to = shown.headers.filter(([name]) => name === "Delivered-To").map(([, value]) => value).join(", ");
  const pairs = [["From", header("From")], ["To", to || header("To")], ["Received", day.format(Number(shown.id) / 1e6)],
    ["Message-ID", header("Message-ID")]];
  if (shown.attachments.length) pairs.push(["Attached", shown.attachments.join(", ")]);
  facts(at("facts"), pairs);
  at("source").href = `/api/messages/${shown.id}/raw`;
  at("tab-html").disabled = !shown.has_html;
  at("tab-text").disabled = shown.text === null;
  draw();
}

function draw() {
  const able = { html: shown.has_html, text: shown.text !== null, headers: true };
  const kind = able[view] ? view : ["html", "text", "headers"].find((name) => able[name]);
  for (const name of Object.keys(able)) at(`tab-${name}`).setAttribute("aria-selected", String(name === kind));
  at("view").replaceChildren(body(kind));
}

function body(kind) {
  if (kind === "text") return make("pre", "", shown.text);
  if (kind === "headers") {
    const list = make("dl");
    facts(list, shown.headers);
    return list;
  }
  const frame = make("iframe");
  frame.title = "The mail as HTML";
  frame.setAttribute("sandbox", "allow-popups allow-popups-to-escape-sandbox");
  frame.src = `/api/messages/${shown.id}/html`;
  return frame;
}

for (const name of ["html", "text", "headers"]) {
  at(`tab-${name}`).addEventListener("click", () => { view = name; draw(); });
}
at("query").addEventListener("input", load);
at("clear").addEventListener("click", async () => {
  if (!confirm("Delete all mails?")) return;
  await fetch("/api/messages", { method: "DELETE" });
  location.hash = "";
  await look();
});
addEventListener("hashchange", choose);
setInterval(() => { if (!document.hidden) look(); }, 1000);
look();
choose();
