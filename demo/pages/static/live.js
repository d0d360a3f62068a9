// Keeps one page true to its session, whatever other tabs and other devices do: who is logged in is asked of
// /session.json, which does not count as activity and tells no more than id, name and e-mail.

// Milliseconds in which another device's logout is seen. For this browser's own tabs there is the channel.
const POLL = 10_000;

const tabs = new BroadcastChannel("session");
const logout = document.querySelector(".account form");
let user = element("live").dataset.user;

function element(id) {
  return document.getElementById(id);
}

/** Ask who is logged in and show it. Resolves to whether that is news. */
async function ask(why) {
  const info = await answer();
  element("asked").hidden = false;
  element("when").textContent = new Date().toLocaleTimeString();
  element("why").textContent = info ? why : `${why}; but there was no answer, so nothing changes`;
  const now = info ? String(info.user?.id ?? "") : user;
  if (now === user) return false;
  user = now;
  // A login brings other rights, and other tokens for the forms: then the page has to be made anew.
  if (user) location.reload();
  else showNobody();
  return true;
}

/** Resolves to what /session.json says; to null in an outage, which is not a logout. */
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

/** Ask, and if it is news, tell the other tabs. What another tab told is not passed on: it told them all. */
async function askAndTell(why) {
  if (await ask(why)) tabs.postMessage("changed");
}

tabs.addEventListener("message", () => ask("another tab said that something has changed"));
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) askAndTell("this tab came to the front");
});
setInterval(() => {
  if (!document.hidden) askAndTell("ten seconds have passed");
}, POLL);

logout?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const body = new URLSearchParams(new FormData(logout));
  const response = await fetch(logout.action, { method: "POST", body }).catch(() => null);
  // Refused, or not reached: the form goes the way it goes without a script, and the browser shows what is wrong.
  if (!response?.ok) return logout.submit();
  await askAndTell("somebody pressed “Log out” here");
  // The button that had the focus is gone.
  element("login").querySelector("a").focus();
});

// This page may have been opened by a login, which other tabs do not know of yet.
tabs.postMessage("changed");
ask("the page was opened");
