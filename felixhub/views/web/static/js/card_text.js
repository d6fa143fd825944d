// The end of an agent's text in its card. Owns: how much of it there is, and that it follows until one scrolls up.
// Must not: ask the layout anything while text streams: the window is pinned to its end by the style sheet.

import { setAttribute, setText } from "./dom.js";
import { safeText } from "./safe.js";
import { lastOf } from "./texts.js";
import { wordsIn } from "./words.js";

export const GRID_TEXT = 1800; // characters of text in a card of the grid: more than its window shows
export const ONE_TEXT = 6000; // in the card that is shown alone
const FULL = 420; // characters from which the top of the window is faded
const NEAR = 30; // px from the end: still following

export class CardText {
  constructor(card) {
    this.card = card;
    this.window = card.querySelector(".text");
    this.newer = card.querySelector(":scope > .newer");
    this.node = card.querySelector(".text .said").appendChild(document.createTextNode(""));
    this.cap = GRID_TEXT;
    this.clear();
    this.newer.addEventListener("click", () => this.follow());
    this.window.addEventListener("scroll", () => this.scrolled(), { passive: true });
  }

  // Another text, or none.
  clear() {
    this.tail = null;
    this.seen = 0; // of the tail's characters
    this.isFollowing = true;
    this.node.data = "";
    this.newer.hidden = true;
    this.card.classList.remove("full");
  }

  // What stands where no text is yet.
  hint(sentence) {
    setAttribute(this.node.parentNode, "data-hint", sentence ?? "");
  }

  setCap(cap) {
    if (cap === this.cap) return;
    this.cap = cap;
    this.seen = 0;
    this.isFollowing = true;
  }

  take(tail) {
    this.tail = tail;
    if (!tail || tail.total === this.seen) return;
    const fresh = tail.total - this.seen;
    if (!this.isFollowing) {
      setText(this.newer, `↓ ${wordsIn(lastOf(tail.text, fresh))} new`);
      this.newer.hidden = false;
      return;
    }
    if (this.seen && fresh > 0 && fresh <= this.cap) this.node.appendData(safeText(lastOf(tail.text, fresh)));
    else this.node.data = safeText(lastOf(tail.text, this.cap));
    this.seen = tail.total;
    if (this.node.length > 2 * this.cap) this.trim();
    this.card.classList.toggle("full", this.node.length > FULL);
  }

  // At a line end, if there is one near: then no line that can be seen breaks anew.
  trim() {
    const over = this.node.length - this.cap;
    const line = this.node.data.indexOf("\n", over);
    this.node.deleteData(0, line >= 0 && line < over + this.cap / 3 ? line + 1 : over);
  }

  // In a window that is turned upside down (column-reverse) 0 is the end, and above it is negative.
  scrolled() {
    const isAtEnd = this.window.scrollTop > -NEAR;
    if (isAtEnd && !this.isFollowing) this.follow();
    else this.isFollowing = isAtEnd;
  }

  follow() {
    this.isFollowing = true;
    this.newer.hidden = true;
    this.take(this.tail);
    this.window.scrollTop = 0;
  }
}
