// Puts the server's partials in place: rows by their id, the newer version stays. Nothing but server-rendered, escaped HTML gets in.

const MOST_LINES = 1000;

const versions = new Map();

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
  if ((versions.get(fresh.id) ?? -1) > message.version) return;
  const rows = document.getElementById("tasks");
  if (!old && rows.childElementCount >= mostRows && fresh.dataset.state !== "FAILED") {
    document.getElementById("cut").hidden = false;
    return;
  }
  versions.set(fresh.id, message.version);
  if (old && old.dataset.startUs === fresh.dataset.startUs) replace(old, fresh);
  else {
    if (old) keepOpenParts(old, fresh);
    old?.remove();
    rows.insertBefore(fresh, firstAfter(rows, startOf(fresh)));
  }
  document.getElementById("no-tasks").hidden = true;
}

export function putLine(message) {
  const lines = document.getElementById("lines");
  const fresh = parse(message.html);
  if (!isWanted(fresh, lines.dataset) || document.getElementById(fresh.id)) return;
  lines.insertBefore(fresh, firstLater(lines, fresh.dataset.time));
  document.getElementById("no-lines").hidden = true;
  while (lines.childElementCount > MOST_LINES) {
    lines.firstElementChild.remove();
    document.getElementById("log-cut").hidden = false;
  }
}

function parse(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content.firstElementChild;
}

function replace(old, fresh) {
  const focused = focusables(old).indexOf(document.activeElement);
  keepOpenParts(old, fresh);
  old.replaceWith(fresh);
  if (focused >= 0) focusables(fresh)[focused]?.focus({ preventScroll: true });
}

function focusables(element) {
  return [...element.querySelectorAll("a, summary, pre")];
}

function keepOpenParts(old, fresh) {
  const before = old.querySelectorAll("details");
  fresh.querySelectorAll("details").forEach((part, place) => { part.open = before[place]?.open ?? false; });
}

// Rows stand in order of start; what has not started stands last.
function startOf(row) {
  return Number(row.dataset.startUs) || Infinity;
}

function firstAfter(rows, startUs) {
  let next = null;
  for (let row = rows.lastElementChild; row && startOf(row) > startUs; row = row.previousElementSibling) next = row;
  return next;
}

function firstLater(lines, time) {
  let next = null;
  for (let line = lines.lastElementChild; line && line.dataset.time > time; line = line.previousElementSibling) next = line;
  return next;
}

function isWanted(line, filter) {
  if (filter.follows !== "yes" || Number(line.dataset.severity) < Number(filter.minSeverity)) return false;
  return filter.task === "" || filter.task === line.dataset.task;
}
