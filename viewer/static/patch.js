// Puts the server's partials in place: rows by their id, the newer version stays. Nothing but server-rendered, escaped HTML gets in.

import { insert, parse, replace } from "./rows.js";

const MOST_LINES = 1000;

// Of each row that came since; those the server rendered are of the page's own version.
const versions = new Map();
const pageVersion = Number(document.getElementById("summary").dataset.version);

export function putSummary(message) {
  const old = document.getElementById("summary");
  if (message.version < Number(old.dataset.version)) return;
  const fresh = parse(message.html);
  replace(old, fresh);
  document.title = fresh.dataset.title;
}

export function putTask(message, mostRows) {
  const fresh = parse(message.html);
  const old = document.getElementById(fresh.id);
  if (old && (versions.get(fresh.id) ?? pageVersion) > message.version) return;
  const rows = document.getElementById("tasks");
  if (!old && rows.childElementCount >= mostRows && fresh.dataset.state !== "FAILED") {
    document.getElementById("cut").hidden = false;
    return;
  }
  versions.set(fresh.id, message.version);
  if (old && old.dataset.startUs === fresh.dataset.startUs) replace(old, fresh);
  else insert(rows, old, fresh, (row) => startOf(row) <= startOf(fresh));
  document.getElementById("no-tasks").hidden = true;
}

export function putLine(message) {
  const lines = document.getElementById("lines");
  const fresh = parse(message.html);
  if (!isWanted(fresh, lines.dataset) || document.getElementById(fresh.id)) return;
  insert(lines, null, fresh, (line) => line.dataset.time <= fresh.dataset.time);
  document.getElementById("no-lines").hidden = true;
  while (lines.childElementCount > MOST_LINES) {
    lines.firstElementChild.remove();
    document.getElementById("log-cut").hidden = false;
  }
}

// Rows stand in order of start; what has not started stands last.
function startOf(row) {
  return Number(row.dataset.startUs) || Infinity;
}

function isWanted(line, filter) {
  if (filter.follows !== "yes" || Number(line.dataset.severity) < Number(filter.minSeverity)) return false;
  return filter.task === "" || filter.task === line.dataset.task;
}
