// Brings a token to the element: from the link that `outbox up` prints, from this tab, or by hand.
const $ = (id) => document.getElementById(id);
const WORDS = { idle: "Not connected", connecting: "Connecting…", live: "Live", waiting: "Reconnecting…", ended: "Signed out" };
const inbox = $("inbox");

function enter(token) {
  sessionStorage.setItem("token", token);
  $("token").value = "";
  $("enter").hidden = true;
  inbox.hidden = false;
  inbox.token = token;
}

function askForToken(why = "") {
  sessionStorage.removeItem("token");
  inbox.hidden = $("user").hidden = true;
  $("enter").hidden = false;
  $("why").hidden = !why;
  $("why").textContent = why;
  $("token").focus();
}

// The fragment never leaves the browser; it is taken out of the address bar and the history at once.
function fromFragment() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) history.replaceState(null, "", location.pathname);
  return given;
}

inbox.addEventListener("outbox-state", ({ detail: { state, reason } }) => {
  $("state").dataset.state = state;
  $("state-text").textContent = WORDS[state];
  $("user").textContent = inbox.client.inbox.userId;
  $("user").hidden = !$("user").textContent;
  if (state === "ended") askForToken(`${reason}.`);
});
inbox.addEventListener("outbox-count", ({ detail: { unread } }) => {
  document.title = unread ? `(${unread}) Outbox` : "Outbox";
});
$("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  enter($("token").value.trim());
});
window.addEventListener("hashchange", () => {
  const given = fromFragment();
  if (given) enter(given);
});

const first = fromFragment() ?? sessionStorage.getItem("token");
if (first) enter(first);
else askForToken();
