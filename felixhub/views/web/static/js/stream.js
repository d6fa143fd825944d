// The one EventSource of this page. Owns: connecting, coming back where it was, and what the connection is called.
// Must not: understand what comes. It comes back by itself, after the last id.

// A browser has six connections to one host for all its tabs: more tabs than that, and the next one, and every command,
// would wait for ever. One that nobody sees lets go of its own, and goes on where it was when it is seen again.
const HIDDEN_MS = 10_000;
const AGAIN_S = [0.5, 1, 2, 4];
const KINDS = ["snapshot", "state", "lines", "hub", "runs", "reset", "gone"];

export class Stream {
  // `told` has a function for each kind, `events` for the unnamed messages, and `connection(state, sentence)`.
  constructor(told) {
    this.told = told;
    this.path = null;
    this.source = null;
    this.lastId = "";
    this.tries = 0;
    this.timer = 0;
    this.resting = 0;
    document.addEventListener("visibilitychange", () => {
      if (document.hidden || this.source || !this.path) return this.restIfHidden();
      this.told.connection("connecting", "");
      this.connect();
    });
  }

  open(path) {
    this.close();
    this.path = path;
    this.lastId = "";
    this.tries = 0;
    this.told.connection("connecting", "");
    this.connect();
  }

  close() {
    this.rest();
    this.path = null;
  }

  rest() {
    clearTimeout(this.timer);
    clearTimeout(this.resting);
    this.source?.close();
    this.source = null;
  }

  restIfHidden() {
    clearTimeout(this.resting);
    if (document.hidden) this.resting = setTimeout(() => this.rest(), HIDDEN_MS);
  }

  // Something is missing: from the beginning.
  restart() {
    if (this.path) this.open(this.path);
  }

  connect() {
    const url = new URL(this.path, location.href);
    if (this.lastId) url.searchParams.set("last_event_id", this.lastId);
    const source = new EventSource(url);
    this.source = source;
    this.restIfHidden();
    const heard = (tell) => (message) => {
      if (source !== this.source) return;
      if (message.lastEventId) this.lastId = message.lastEventId;
      tell(JSON.parse(message.data));
    };
    source.onopen = () => {
      if (source !== this.source) return;
      this.tries = 0;
      this.told.connection("open", "");
    };
    source.onmessage = heard((events) => this.told.events(events));
    for (const kind of KINDS) {
      if (kind === "gone") continue;
      source.addEventListener(kind, heard((data) => this.told[kind]?.(data)));
    }
    source.addEventListener("gone", heard((data) => {
      this.close();
      this.told.gone(data);
    }));
    source.onerror = () => {
      if (source !== this.source) return;
      source.close(); // Its own way back would ask for the address of long ago, and gives up at the first refusal.
      this.told.connection("lost", "");
      this.timer = setTimeout(() => this.connect(), 1000 * AGAIN_S[Math.min(this.tries++, AGAIN_S.length - 1)]);
    };
  }
}
