// A run's page, kept up to date: takes messages, has them put in place, moves the bars. Hidden or long over, it costs nothing.

import { Connection, openWhileSeen, startAgain } from "./connection.js";
import { putLine, putSummary, putTask } from "./patch.js";
import { serverClock } from "./times.js";
import { layOut } from "./waterfall.js";

const TICK_MS = 1000;
// After a run's end late facts may come; then nothing is to be expected.
const QUIET_AFTER_END_MS = 60_000;

const WORDS = { live: "live", reconnecting: "reconnecting", off: "", over: "ended" };

const page = document.getElementById("run").dataset;
const now = serverClock(Number(page.nowUs));
const mostRows = Number(page.mostRows);
let cursor = page.cursor;
let connected = "off";
let layoutWaits = false;
let lastNews = performance.now();

const connection = new Connection({
  socketHref: page.socket,
  eventsHref: page.events,
  cursor: () => cursor,
  seen: () => document.getElementById("summary").dataset.seen,
  take,
  show,
});

function take(message) {
  lastNews = performance.now();
  if (message.kind === "resync") startAgain(connection);
  else if (message.kind === "task") putTask(message, mostRows);
  else if (message.kind === "log") putLine(message);
  else if (message.kind === "flow") {
    // Only now is everything up to this cursor here: cut off before, we ask for it again.
    putSummary(message);
    cursor = message.data.cursor;
    show(connected);
  }
  moveBars();
}

function moveBars() {
  if (layoutWaits) return;
  layoutWaits = true;
  requestAnimationFrame(() => { layoutWaits = false; layOut(now()); });
}

function show(state) {
  const badge = document.getElementById("live");
  connected = state;
  if (state === "live" && isOver()) state = "over";
  badge.dataset.state = state;
  badge.textContent = WORDS[state];
}

function isOver() {
  return document.getElementById("summary").dataset.over === "yes";
}

function tick() {
  if (document.hidden) return;
  if (!isOver()) moveBars();
  else if (performance.now() - lastNews > QUIET_AFTER_END_MS) {
    connection.close();
    show("over");
  }
}

openWhileSeen(connection, () => {
  lastNews = performance.now();
  moveBars();
});
setInterval(tick, TICK_MS);
