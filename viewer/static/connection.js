// Keeps one live connection: a WebSocket, or server-sent events where sockets do not get through. Closed while the page is hidden.

const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 5000;
const FAILURES_BEFORE_EVENTS = 2;

export class Connection {
  #source = null;
  #timer = 0;
  #failures = 0;
  #socketsWork = false;

  // version(), seen(): what the page has and shows; take(message); show(state): "live", "reconnecting" or "off".
  constructor({ socketHref, eventsHref, version, seen, take, show }) {
    Object.assign(this, { socketHref, eventsHref, version, seen, take, show });
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
    const socket = new WebSocket(this.#address(this.socketHref).replace(/^http/, "ws"));
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
    source.onmessage = (event) => { if (source === this.#source) this.take(JSON.parse(event.data)); };
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

  #address(href) {
    const address = new URL(href, location.href);
    address.searchParams.set("version", this.version());
    address.searchParams.set("seen", this.seen());
    address.searchParams.set("html", "1");
    return address.href;
  }
}
