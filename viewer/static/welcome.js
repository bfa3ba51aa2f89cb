// The page before the first run: the table of requests as it grows, and on to the flows once there is a run.

const badge = document.getElementById("live");
let events = null;

function open() {
  if (events || document.hidden) return;
  events = new EventSource("/sse/welcome");
  events.onopen = () => show("live", "waiting");
  events.onerror = () => show("reconnecting", "reconnecting");
  events.addEventListener("html", (event) => {
    const template = document.createElement("template");
    template.innerHTML = event.data;
    document.getElementById("receipts").replaceWith(template.content.firstElementChild);
  });
  events.addEventListener("run", () => { close(); location.reload(); });
}

function close() {
  events?.close();
  events = null;
  show("off", "");
}

function show(state, word) {
  badge.dataset.state = state;
  badge.textContent = word;
}

for (const button of document.querySelectorAll("[data-copies]")) {
  if (!navigator.clipboard) break;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copies).textContent);
    button.textContent = "Copied";
  });
}

document.addEventListener("visibilitychange", () => { if (document.hidden) close(); else open(); });
open();
