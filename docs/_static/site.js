"use strict";

// Boxes that scroll sideways can be scrolled from the keyboard too.

const reachable = () => {
  for (const box of document.querySelectorAll("pre, .table-wrapper")) {
    if (box.scrollWidth > box.clientWidth) {
      box.tabIndex = 0;
    } else {
      box.removeAttribute("tabindex");
    }
  }
};

document.addEventListener("DOMContentLoaded", reachable);
addEventListener("load", reachable);
addEventListener("resize", reachable);

// The other versions of the site, each a link to the same page, as Read the Docs lists them.
const showVersions = ({ versions }) => {
  const box = document.querySelector(".site-versions");
  const { current, active } = versions;
  if (!box || active.length < 2) return;
  const home = new URL(current.urls.documentation);
  const page = location.pathname.startsWith(home.pathname) ? location.pathname.slice(home.pathname.length) : "";
  const list = document.createElement("ul");
  for (const version of active) {
    const link = document.createElement("a");
    link.href = new URL(page, version.urls.documentation).href;
    link.textContent = version.slug;
    if (version.slug === current.slug) link.setAttribute("aria-current", "true");
    const item = document.createElement("li");
    item.append(link);
    list.append(item);
  }
  const summary = document.createElement("summary");
  summary.textContent = `Version: ${current.slug}`;
  const details = document.createElement("details");
  details.append(summary, list);
  box.replaceChildren(details);
};

document.addEventListener("readthedocs-addons-data-ready", (event) => showVersions(event.detail.data()));
// The event may have come before this script ran.
if (window.ReadTheDocsEventData) showVersions(window.ReadTheDocsEventData.data());
