// Keeps one page up to date when other tabs and devices log in or out. It asks /session.json who is logged in, which
// does not count as activity and returns only id, name and e-mail.

// Milliseconds until a logout on another device is noticed. The tabs of this browser use the channel.
const POLL = 10_000;

const tabs = new BroadcastChannel("session");
const logout = document.querySelector(".account form");
let user = element("live").dataset.user;

function element(id) {
  return document.getElementById(id);
}

/** Ask who is logged in and show it. Resolves to whether it has changed. */
async function ask(why) {
  const info = await answer();
  element("asked").hidden = false;
  element("when").textContent = new Date().toLocaleTimeString();
  element("why").textContent = info ? why : `${why}; but the request failed, so nothing changes`;
  const now = info ? String(info.user?.id ?? "") : user;
  if (now === user) return false;
  user = now;
  // After a login the forms need other CSRF tokens, so the page has to be loaded again.
  if (user) location.reload();
  else showNobody();
  return true;
}

/** Resolves to the content of /session.json; to null in an outage, which is not a logout. */
async function answer() {
  try {
    const response = await fetch("/session.json");
    return response.ok ? await response.json() : null;
  } catch {
    return null;
  }
}

function showNobody() {
  element("said").textContent = "Nobody is logged in any more.";
  element("login").hidden = false;
  for (const gone of document.querySelectorAll(".account, .count, .flash")) gone.hidden = true;
}

/** Ask, and tell the other tabs about a change. A message from another tab is not passed on: it went to all tabs. */
async function askAndTell(why) {
  if (await ask(why)) tabs.postMessage("changed");
}

tabs.addEventListener("message", () => ask("another tab reported a change"));
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) askAndTell("this tab became visible");
});
setInterval(() => {
  if (!document.hidden) askAndTell("ten seconds have passed");
}, POLL);

logout?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const body = new URLSearchParams(new FormData(logout));
  const response = await fetch(logout.action, { method: "POST", body }).catch(() => null);
  // If the request fails, submit the form as without a script, so that the browser shows the error.
  if (!response?.ok) return logout.submit();
  await askAndTell("“Log out” was pressed here");
  // The button that had the focus is hidden now.
  element("login").querySelector("a").focus();
});

// This page may have been opened after a login that other tabs have not noticed yet.
tabs.postMessage("changed");
ask("the page was opened");
