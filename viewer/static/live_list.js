// The pages of runs and flows, kept up to date: rows change in place, new ones stand where they belong, the last ones of a long list go.

import { Connection, openWhileSeen, startAgain } from "./connection.js";
import { insert, parse, replace } from "./rows.js";
import { durationText, serverClock } from "./times.js";

const TICK_MS = 1000;
// What came is said aloud together, not run by run.
const SAY_EVERY_MS = 5000;

const WORDS = { live: "live", reconnecting: "reconnecting", off: "" };

const page = document.getElementById("list").dataset;
const now = serverClock(Number(page.nowUs));
const mostRows = Number(page.mostRows);
let cursor = page.cursor;
let unsaid = 0;
let newestSaid = newest();

const connection = new Connection({ socketHref: page.socket, eventsHref: page.events, cursor: () => cursor, take, show });

function take(message) {
  if (message.kind === "resync") startAgain(connection);
  else if (message.kind === "run") putRun(message);
  else if (message.kind === "flow") putFlow(message);
  else if (message.kind === "gone") document.getElementById(message.row)?.remove();
  // Only now is everything up to this cursor here: cut off before, we ask for it again.
  else if (message.kind === "cursor") cursor = message.data.cursor;
}

function putRun(message) {
  const rows = document.getElementById("runs");
  if (!rows || message.data.kind === page.waitsFor) {
    location.reload(); // this list begins with this run
    return;
  }
  const fresh = parse(message.html);
  const old = document.getElementById(fresh.id);
  if (old && Number(old.dataset.version) > message.version) return;
  document.getElementById("no-runs")?.remove();
  put(rows, old, fresh, (row) => row.dataset.order >= fresh.dataset.order);
  if (!old && fresh.dataset.order > newestSaid) unsaid += 1;
  if (rows.childElementCount > mostRows) dropLast(rows);
}

function dropLast(rows) {
  rows.lastElementChild.remove();
  const older = document.getElementById("older");
  if (!older) return;
  const address = new URL(older.dataset.list, location.href);
  address.searchParams.set("cursor", rows.lastElementChild.dataset.place);
  older.href = address.href;
  older.hidden = false;
}

function putFlow(message) {
  const rows = document.getElementById("flows");
  const fresh = parse(message.html);
  const old = document.getElementById(fresh.id);
  const last = rows.lastElementChild;
  // Beyond the last row of a page there is another page.
  if (!old && document.getElementById("more-flows") && fresh.dataset.order > last.dataset.order) return;
  document.getElementById("no-flows")?.remove();
  put(rows, old, fresh, (row) => row.dataset.order <= fresh.dataset.order);
}

function put(rows, old, fresh, comesFirst) {
  if (old?.dataset.order === fresh.dataset.order) replace(old, fresh);
  else insert(rows, old, fresh, comesFirst);
}

function show(state) {
  const badge = document.getElementById("live");
  badge.dataset.state = state;
  badge.textContent = WORDS[state];
}

function tick() {
  if (document.hidden) return;
  for (const cell of document.querySelectorAll("[data-since-us]")) cell.textContent = durationText(now() - Number(cell.dataset.sinceUs));
}

function say() {
  if (unsaid) document.getElementById("said").textContent = unsaid === 1 ? "1 new run" : `${unsaid} new runs`;
  unsaid = 0;
  newestSaid = newest();
}

function newest() {
  return document.querySelector("#runs tr")?.dataset.order ?? "";
}

openWhileSeen(connection);
setInterval(tick, TICK_MS);
setInterval(say, SAY_EVERY_MS);
