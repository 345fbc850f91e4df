// Makes a page live. Without it everything is there too, by reloading.
"use strict";

// A section is drawn by the server alone: what is stale is fetched again, with its whole page.
const QUIET_MS = 700;
const MAX_DOTS = 40;

const connection = document.getElementById("connection");
const news = document.getElementById("news");
const readOnly = connection ? connection.textContent : "";
const sections = () => [...document.querySelectorAll("[data-live]")];
let stale = new Set();
// What is not touched while its reader has it in hand.
const held = new Set();
let timer = null;

function say(text) {
  if (connection) connection.textContent = [text, readOnly].filter(Boolean).join(" ");
}

function mark(section) {
  stale.add(section.id);
  if (timer === null && !document.hidden) timer = setTimeout(refresh, QUIET_MS);
}

async function refresh() {
  const ids = stale;
  stale = new Set();
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (answer.ok) {
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const id of ids) replace(document.getElementById(id), page.getElementById(id));
    }
  } catch {
    // The connection says so itself.
  }
  timer = null;
  if (stale.size > 0 && !document.hidden) timer = setTimeout(refresh, QUIET_MS);
}

function replace(old, fresh) {
  if (!old || !fresh || old.innerHTML === fresh.innerHTML) return;
  const active = document.activeElement;
  const open = [...old.querySelectorAll("details")].map((details) => details.open);
  const details = [...fresh.querySelectorAll("details")];
  const reads = open.includes(true) && open.length !== details.length;
  // A table that scrolls has the focus for that alone, and gets it back.
  const wide = [...old.querySelectorAll(".wide")].indexOf(active);
  if (reads || (wide < 0 && active && active !== document.body && old.contains(active))) {
    held.add(old.id);
    return;
  }
  const told = new Set(newsOf(old));
  const scrolled = active?.scrollLeft;
  old.replaceWith(document.adoptNode(fresh));
  if (details.length === open.length) details.forEach((one, i) => (one.open = open[i]));
  if (wide >= 0) regain(fresh.querySelectorAll(".wide")[wide], scrolled);
  const happened = newsOf(fresh).filter((one) => !told.has(one));
  if (happened.length > 0 && news) news.textContent = happened.join(", ");
}

function regain(wide, scrollLeft) {
  wide?.focus({ preventScroll: true });
  if (wide) wide.scrollLeft = scrollLeft;
}

// What is read out when it is new.
function newsOf(section) {
  const all = [...section.querySelectorAll(".timeline h3, [data-news]")];
  return all.map((one) => one.dataset.news ?? one.textContent);
}

function release() {
  for (const section of sections()) if (held.delete(section.id)) mark(section);
}

function onRecords(landed) {
  const topics = new Set();
  const keys = new Set();
  for (const record of landed.records) {
    topics.add(record.topic);
    keys.add(record.key);
    const place = `${record.topic}/${record.partition}`;
    const end = document.querySelector(`[data-end="${CSS.escape(place)}"]`);
    if (end) end.textContent = String(Math.max(Number(end.textContent), record.offset + 1));
    const lane = document.querySelector(`[data-lane="${CSS.escape(place)}"]`);
    if (lane) land(lane, record);
  }
  for (const section of sections()) {
    if (["groups", "lines", "system"].includes(section.dataset.live)) continue;
    const { topic, key } = section.dataset;
    if (landed.more === 0 && ((topic && !topics.has(topic)) || (key && !keys.has(key)))) continue;
    mark(section);
  }
}

function land(lane, record) {
  const dot = document.createElement("span");
  dot.className = "dot";
  dot.title = `${record.kind} @ ${record.offset}`;
  lane.prepend(dot);
  while (lane.childElementCount > MAX_DOTS) lane.lastElementChild.remove();
}

function onGroups() {
  for (const section of sections()) if (["groups", "both", "system"].includes(section.dataset.live)) mark(section);
}

function onLines(services) {
  for (const section of sections()) {
    const { live, service } = section.dataset;
    if (live === "lines" && (!service || services.includes(service))) mark(section);
  }
}

function onSystem() {
  for (const section of sections()) if (section.dataset.live === "system") mark(section);
}

if (sections().length > 0 || document.querySelector("[data-lane]")) {
  const live = new EventSource("/live");
  live.addEventListener("hello", () => {
    say("Live.");
    // What happened since the page was drawn was told to others.
    sections().forEach(mark);
  });
  live.addEventListener("records", (event) => onRecords(JSON.parse(event.data)));
  live.addEventListener("groups", onGroups);
  live.addEventListener("lines", (event) => onLines(JSON.parse(event.data)));
  live.addEventListener("system", onSystem);
  live.addEventListener("dropped", () => sections().forEach(mark));
  live.onerror = () => say("Not live now; connecting again.");
  document.addEventListener("focusout", release);
  document.addEventListener("toggle", release, true);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) sections().forEach(mark);
  });
}
