// Whether what one sees is live, in words: of the stream to the gateway, and of the gateway to the hub.
// Must not: connect anything (stream.js does).

import { renewToken } from "./api.js";
import { $, setText } from "./dom.js";

const BACK_MS = 6000; // how long "it is back" stays
const GOES_ON = "What you see is as it was; the page goes on by itself when it is back.";
const AWAY = { hub: `The hub is away. ${GOES_ON}`, gateway: `The page's server does not answer. ${GOES_ON}` };
const BACK = { hub: "The hub is back: nothing was lost.", gateway: "Connected again: nothing was lost." };
const ANOTHER = "The hub's log is not the one it was, restored from a backup perhaps: the run is shown as it stands there now.";

export class Connection {
  constructor(onLost) {
    this.onLost = onLost;
    this.gateway = "connecting"; // connecting, open, lost
    this.hub = "here";
    this.isHere = false;
    this.wasHere = false; // ever
    this.missing = null; // hub or gateway, until it is back
    this.isAnother = false; // whether its log is another one than before it was missing
  }

  set(state) {
    // Another life of the gateway has another token.
    if (state === "open" && this.missing === "gateway") renewToken().catch(() => {});
    this.gateway = state;
    this.show();
    if (state === "lost") this.onLost();
  }

  setHub(state) {
    this.hub = state;
    this.show();
  }

  // The hub came back without what was shown: said instead of "nothing was lost", before or after that.
  setAnotherLog() {
    this.isAnother = true;
    this.notice(ANOTHER, "");
  }

  show() {
    const isOpen = this.gateway === "open";
    this.isHere = isOpen && this.hub === "here";
    if (this.isHere) {
      this.pill("here", "●", "connected");
      if (this.missing && !this.isAnother) this.notice(BACK[this.missing], "good");
      this.missing = null;
      this.wasHere = true;
    } else if (isOpen) {
      this.pill("away", "⚠", "hub away");
      this.isMissing("hub");
    } else if (this.gateway === "lost" && this.wasHere) {
      this.pill("away", "⚠", "reconnecting");
      this.isMissing("gateway");
    } else this.pill("connecting", "○", "connecting");
  }

  isMissing(what) {
    this.missing = what;
    this.isAnother = false;
    this.notice(AWAY[what], "");
  }

  pill(state, glyph, word) {
    const pill = $("connection");
    pill.dataset.state = state;
    setText(pill.querySelector(".glyph"), glyph);
    setText(pill.querySelector(".word"), word);
  }

  notice(sentence, tone) {
    clearTimeout(this.timer);
    const bar = $("notice");
    bar.hidden = !sentence;
    bar.dataset.tone = tone;
    setText(bar.querySelector(".glyph"), tone === "good" ? "✓" : "⚠");
    setText(bar.querySelector(".sentence"), sentence);
    if (tone === "good") this.timer = setTimeout(() => (bar.hidden = true), BACK_MS);
  }
}
