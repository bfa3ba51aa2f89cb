// Lays the bars of the task table out anew: the scale grows with the run, and what runs ends now.

import { durationText } from "./times.js";

const SCALE = 1000;
const LEAST_WIDTH = 3;

export function layOut(nowUs) {
  const bars = [...document.querySelectorAll("#tasks rect")];
  const summary = document.getElementById("summary");
  const { startUs, endUs } = stretch(summary, bars, nowUs);
  for (const bar of bars) place(bar, startUs, endUs - startUs, nowUs);
  document.getElementById("length").textContent = durationText(endUs - startUs);
  for (const cell of document.querySelectorAll("[data-since-us]")) {
    if (Number(cell.dataset.sinceUs) > 0 && isRunning(cell)) cell.textContent = durationText(nowUs - Number(cell.dataset.sinceUs));
  }
}

function stretch(summary, bars, nowUs) {
  const starts = bars.map((bar) => Number(bar.dataset.startUs));
  const ends = bars.map((bar) => Number(bar.dataset.endUs) || nowUs);
  const startUs = Math.min(Number(summary.dataset.startUs), ...starts);
  const runEndUs = Number(summary.dataset.endUs) || (isRunning(summary) ? nowUs : 0);
  return { startUs, endUs: Math.max(runEndUs, startUs + 1, ...ends) };
}

function place(bar, startUs, spanUs, nowUs) {
  const from = Number(bar.dataset.startUs);
  const to = Number(bar.dataset.endUs) || nowUs;
  const width = Math.min(Math.max(((to - from) / spanUs) * SCALE, LEAST_WIDTH), SCALE);
  const x = Math.min(Math.max(((from - startUs) / spanUs) * SCALE, 0), SCALE - width);
  bar.setAttribute("x", x.toFixed(1));
  bar.setAttribute("width", width.toFixed(1));
}

function isRunning(element) {
  const { state } = element.closest("[data-state]").dataset;
  return state === "RUNNING" || state === "PAUSED";
}
