// All the cards: which there are, which are shown, and one flush for each frame. Must not: know what a card looks like.

import { Card } from "./card.js";
import { GRID_TEXT, ONE_TEXT } from "./card_text.js";
import { $, el, setText } from "./dom.js";
import { STATES, showState } from "./words.js";

const STILL_MAX = 12; // more cursors than these do not blink: it would be restless, and dear
const BETWEEN_MS = 90; // texts grow at most so often: as often as they come, and not more often than one can see
const ORDER = ["streaming", "regenerating", "thinking", "stalled", "queued", "backing_off", "waiting", "paused", "cancelling", "final", "approved", "cancelled", "failed", "skipped"];

export class Cards {
  constructor(page) {
    this.page = page;
    this.cards = new Map(); // by agent, in the workflow's order
    this.isOne = false;
    this.chosen = null;
    this.frame = 0;
    this.timer = 0;
    this.flushedAt = 0;
    this.isShown = true;
    this.watcher = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        const card = this.cards.get(target.dataset.agent);
        if (card) card.isVisible = isIntersecting;
      }
      this.wake();
    }, { rootMargin: "300px" });
    $("as-grid").addEventListener("click", () => this.setOne(false));
    $("as-one").addEventListener("click", () => this.setOne(true));
    $("filter").addEventListener("input", () => this.filter());
    setInterval(() => this.tick(), 1000);
  }

  clear() {
    this.watcher.disconnect();
    this.cards.clear();
    this.chosen = null;
    $("cards").replaceChildren();
    $("rail").replaceChildren();
    $("filter").value = "";
    setText($("counts"), "");
    this.setOne(false);
  }

  show(overview) {
    for (const view of overview.agents) {
      let card = this.cards.get(view.agent);
      if (!card) card = this.add(view.agent);
      card.show(view);
    }
    $("cards").classList.toggle("crowd", overview.agents.length > STILL_MAX);
    this.showCounts(overview);
    if (this.isOne) this.showRail();
    this.wake();
  }

  add(agent) {
    const card = new Card(this.page, agent);
    this.cards.set(agent, card);
    card.chip = el("button", { type: "button", "data-agent": agent, onclick: () => this.choose(agent) }, el("span", { class: "state" }), agent);
    $("rail").append(card.chip);
    $("cards").append(card.node);
    card.node.hidden = !this.matches(card);
    this.watcher.observe(card.node);
    return card;
  }

  showCounts(overview) {
    const counts = new Map();
    for (const { state } of overview.agents) counts.set(state, (counts.get(state) ?? 0) + 1);
    const words = ORDER.filter((state) => counts.has(state)).map((state) => `${counts.get(state)} ${STATES[state][1]}`);
    setText($("counts"), words.join(" · "));
    setText($("agents-badge"), String(overview.agents.length));
  }

  // ---- text -----------------------------------------------------------------------------------------------------------

  // A text has grown, or the page is awake again.
  touch(thought) {
    for (const card of this.cards.values()) if (card.thought === thought) card.isDirty = true;
    this.wake();
  }

  wake() {
    if (this.frame || this.timer || this.page.isPaused) return;
    this.frame = requestAnimationFrame((now) => {
      this.frame = 0;
      if (now - this.flushedAt >= BETWEEN_MS) this.flush(now);
      else this.timer ||= setTimeout(() => {
        this.timer = 0;
        this.wake();
      }, BETWEEN_MS - (now - this.flushedAt));
    });
  }

  flush(now) {
    this.flushedAt = now;
    if (this.page.isPaused || !this.isShown) return;
    for (const card of this.cards.values()) {
      if (card.isDirty && card.isVisible && (!this.isOne || card.agent === this.chosen)) card.flush();
    }
  }

  touchAll() {
    for (const card of this.cards.values()) {
      card.text.seen = 0;
      card.isDirty = true;
    }
    this.wake();
  }

  // While nothing comes the silence grows all the same.
  tick() {
    if (document.hidden || this.page.isPaused || !this.isShown || !this.page.isConnected) return;
    for (const card of this.cards.values()) {
      if (card.isVisible && (card.view?.state === "thinking" || card.view?.state === "stalled")) card.showStateOf(card.view);
    }
  }

  // ---- grid or one ----------------------------------------------------------------------------------------------------

  setOne(isOne) {
    // The one card has the page to itself; the charts come back with the grid.
    if (isOne && !this.isOne) this.hadCharts = !$("charts").hidden;
    if (isOne !== this.isOne) this.page.showCharts(!isOne && this.hadCharts);
    this.isOne = isOne;
    $("as-grid").setAttribute("aria-pressed", String(!isOne));
    $("as-one").setAttribute("aria-pressed", String(isOne));
    $("cards").classList.toggle("one", isOne);
    $("rail").hidden = !isOne;
    if (isOne) this.choose(this.chosen ?? this.focused()?.agent ?? this.cards.keys().next().value ?? null);
    for (const card of this.cards.values()) {
      card.text.setCap(isOne ? ONE_TEXT : GRID_TEXT);
      card.isDirty = true;
      // In the grid the window does not scroll; alone it does, so it must be reached by keys.
      if (isOne) card.text.window.setAttribute("tabindex", "0");
      else card.text.window.removeAttribute("tabindex");
    }
    this.wake();
  }

  choose(agent) {
    this.chosen = agent;
    for (const card of this.cards.values()) {
      card.node.classList.toggle("chosen", card.agent === agent);
      card.chip.setAttribute("aria-pressed", String(card.agent === agent));
      if (card.agent === agent) card.isDirty = true;
    }
    this.showRail();
    this.wake();
  }

  showRail() {
    for (const card of this.cards.values()) {
      if (card.view) showState(card.chip.firstElementChild, [STATES[card.view.state][0], "", STATES[card.view.state][2]]);
    }
  }

  // ---- finding and moving -----------------------------------------------------------------------------------------------

  matches(card) {
    const wanted = $("filter").value.trim().toLowerCase();
    if (!wanted) return true;
    const view = card.view;
    const text = this.page.texts.get(card.thought)?.text ?? "";
    return `${card.agent} ${view?.stage ?? ""} ${view?.state ?? ""} ${card.section?.()?.title ?? ""} ${text}`.toLowerCase().includes(wanted);
  }

  filter() {
    for (const card of this.cards.values()) card.node.hidden = !this.matches(card);
  }

  focused() {
    const node = document.activeElement?.closest?.(".card");
    return node ? this.cards.get(node.dataset.agent) : undefined;
  }

  current() {
    return this.isOne ? this.cards.get(this.chosen) : this.focused();
  }

  move(step) {
    const all = [...this.cards.values()].filter((card) => !card.node.hidden);
    if (!all.length) return;
    const at = all.indexOf(this.current());
    const next = all[at < 0 ? (step > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, at + step))];
    if (this.isOne) this.choose(next.agent);
    next.node.focus();
    next.node.scrollIntoView({ block: "nearest" });
  }

  go(agent) {
    const card = this.cards.get(agent);
    if (!card) return;
    this.page.showTab("agents");
    if (this.isOne) this.choose(agent);
    card.node.hidden = false;
    card.node.focus();
    card.node.scrollIntoView({ block: "center" });
  }
}
