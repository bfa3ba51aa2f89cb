// Keeps one live connection: a WebSocket, or server-sent events where sockets do not get through. Closed while the page is hidden.

const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 5000;
const FAILURES_BEFORE_EVENTS = 2;
const RELOAD_AFTER_MS = 2000;

export class Connection {
  #source = null;
  #timer = 0;
  #failures = 0;
  #socketsWork = false;

  // cursor(), seen(): what the page has and shows (a list says no `seen`); take(message); show(state): "live", "reconnecting" or "off".
  constructor({ socketHref, eventsHref, cursor, seen, take, show }) {
    Object.assign(this, { socketHref, eventsHref, cursor, seen, take, show });
  }

  open() {
    if (this.#source || this.#timer) return;
    if (this.#socketsWork || this.#failures < FAILURES_BEFORE_EVENTS) this.#openSocket();
    else this.#openEvents();
  }

  close() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#drop();
    this.show("off");
  }

  #openSocket() {
    const socket = new WebSocket(this.#address(this.socketHref, { batch: "1" }).replace(/^http/, "ws"));
    socket.onopen = () => { this.#socketsWork = true; this.#opened(); };
    this.#listen(socket);
    socket.onclose = () => this.#again();
  }

  #openEvents() {
    const events = new EventSource(this.#address(this.eventsHref));
    events.onopen = () => this.#opened();
    this.#listen(events);
    events.onerror = () => this.#again();
  }

  #listen(source) {
    this.#source = source;
    source.onmessage = (event) => {
      for (const message of [JSON.parse(event.data)].flat()) this.#takeFrom(source, message);
    };
  }

  // A message the page trips over costs the others of its frame nothing.
  #takeFrom(source, message) {
    if (source !== this.#source) return;
    try {
      this.take(message);
    } catch (error) {
      reportError(error);
    }
  }

  #opened() {
    this.#failures = 0;
    this.show("live");
  }

  #again() {
    this.#drop();
    this.show("reconnecting");
    const wait = Math.min(FIRST_WAIT_MS * 2 ** this.#failures, LONGEST_WAIT_MS);
    this.#failures += 1;
    this.#timer = setTimeout(() => { this.#timer = 0; this.open(); }, wait * (0.5 + Math.random() / 2));
  }

  #drop() {
    const source = this.#source;
    this.#source = null;
    if (!source) return;
    source.onopen = source.onmessage = source.onclose = source.onerror = null;
    source.close();
  }

  #address(href, wishes = {}) {
    const address = new URL(href, location.href);
    for (const [name, value] of Object.entries(wishes)) address.searchParams.set(name, value);
    address.searchParams.set("cursor", this.cursor());
    if (this.seen) address.searchParams.set("seen", this.seen());
    address.searchParams.set("html", "1");
    return address.href;
  }
}

// Opens a connection whenever the page is looked at, and closes it when it is not. seen(): called each time it is again.
export function openWhileSeen(connection, seen = () => {}) {
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) connection.close();
    else {
      seen();
      connection.open();
    }
  });
  addEventListener("pagehide", () => connection.close());
  addEventListener("pageshow", () => { if (!document.hidden) connection.open(); });
}

// A page that cannot follow starts again, but not in a circle, and not with all others at once.
export function startAgain(connection) {
  connection.close();
  setTimeout(() => location.reload(), RELOAD_AFTER_MS * (0.5 + Math.random()));
}
