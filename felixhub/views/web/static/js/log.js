// The event log in words. Owns: the lines that are kept and shown, a bounded number. Must not: word anything itself.

import { $, el, setText } from "./dom.js";
import { safeText } from "./safe.js";
import { count, number, timeOfDay } from "./words.js";

const KEPT = 1000;
const NEAR = 40; // px from the end: still following

export class Log {
  constructor(page) {
    this.page = page;
    this.box = $("log-lines");
    this.lines = [];
    this.waiting = []; // come, and not yet shown
    this.isShown = false;
    this.isFollowing = true;
    this.unseen = 0;
    this.box.addEventListener("scroll", () => {
      this.isFollowing = this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight <= NEAR;
      if (this.isFollowing) this.unseen = 0;
      this.showNewer();
    }, { passive: true });
    $("log-newer").addEventListener("click", () => {
      this.box.scrollTop = this.box.scrollHeight;
      this.box.focus();
    });
    $("log-filter").addEventListener("input", () => this.all());
  }

  clear() {
    this.startOver();
    $("log-filter").value = "";
  }

  startOver() {
    this.lines = [];
    this.waiting = [];
    this.unseen = 0;
    this.isFollowing = true;
    this.box.replaceChildren();
    setText($("log-counts"), "");
  }

  take(lines) {
    const last = this.lines.at(-1)?.seq ?? 0;
    const fresh = lines.filter((line) => line.seq > last);
    this.lines.push(...fresh);
    if (this.lines.length > KEPT) this.lines.splice(0, this.lines.length - KEPT);
    this.waiting.push(...fresh);
    if (this.waiting.length > KEPT) this.waiting.splice(0, this.waiting.length - KEPT);
    this.show();
  }

  wanted(line) {
    const filter = $("log-filter").value.trim().toLowerCase();
    return !filter || `${line.agent ?? ""} ${line.text}`.toLowerCase().includes(filter);
  }

  row(line) {
    const agent = safeText(line.agent ?? "");
    return el("p", {},
      el("time", {}, timeOfDay(line.at)),
      el("span", { class: "agent", title: agent }, agent),
      el("span", { class: "sign" }, line.sign ?? ""),
      el("span", { class: "said-line", dir: "auto" }, safeText(line.text)));
  }

  show() {
    if (!this.isShown || this.page.isPaused || !this.waiting.length) return;
    const fresh = this.waiting.filter((line) => this.wanted(line));
    this.waiting = [];
    this.box.append(...fresh.map((line) => this.row(line)));
    while (this.box.childElementCount > KEPT) this.box.firstElementChild.remove();
    if (this.isFollowing) this.box.scrollTop = this.box.scrollHeight;
    else this.unseen += fresh.length;
    this.showNewer();
    setText($("log-counts"), `${count(this.box.childElementCount, "line")}`);
  }

  showNewer() {
    $("log-newer").hidden = this.isFollowing || !this.unseen;
    setText($("log-newer"), `↓ ${number(this.unseen)} new`);
  }

  all() {
    this.box.replaceChildren();
    this.waiting = [...this.lines];
    this.isFollowing = true;
    this.show();
    setText($("log-counts"), `${count(this.box.childElementCount, "line")}`);
  }
}
