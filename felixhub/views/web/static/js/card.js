// One agent's card. Owns: its elements and what is written to them. Must not: derive a figure (they come from the
// Overview), nor ask the layout anything while text streams.

import { Refused, agentPath, getJson, post, sectionPath, thoughtPath } from "./api.js";
import { CardText } from "./card_text.js";
import { confirmDialog } from "./confirm.js";
import { $, copy, el, setAttribute, setText, whilePending } from "./dom.js";
import { editDialog } from "./edit.js";
import { readerDialog } from "./reader.js";
import { safeText } from "./safe.js";
import { steerDialog } from "./steer.js";
import { versionsDialog } from "./versions.js";
import { ENDED, LIVE, STATES, WRITING, count, modelOf, perSecond, showState, span, wordsIn } from "./words.js";

const SILENT_S = 1.0; // a shorter silence is not worth a word

// What stands where no text is yet.
const HINTS = {
  waiting: "Its turn has not come yet.",
  queued: "It waits for a place at its model.",
  backing_off: "It tries again in a moment.",
  thinking: "No word yet.",
  paused: "It goes on when the run is resumed.",
  skipped: "Nobody has asked for it.",
};

const BUTTONS = {
  approve: ["Approve", "strong"],
  steer: ["Steer", ""],
  regenerate: ["Regenerate", ""],
  edit: ["Edit", ""],
  reopen: ["Unapprove", ""],
  versions: ["Versions", ""],
  cancel: ["Cancel", "danger"],
};

export class Card {
  constructor(page, agent) {
    this.page = page;
    this.agent = agent;
    this.thought = null;
    this.view = null;
    this.isVisible = true;
    this.isDirty = false;
    this.node = $("card").content.firstElementChild.cloneNode(true);
    const find = (name) => this.node.querySelector(name);
    this.parts = {
      name: find(".name"), state: find("header .state"), about: find(".about"),
      path: find(".path-done"), tok: find(".tok"), wrd: find(".wrd"), prog: find(".prog"), per: find(".per"),
      spark: find("polyline"), told: find(".told"), footer: find("footer"),
    };
    this.text = new CardText(this.node);
    this.node.dataset.agent = agent;
    setText(this.parts.name, agent);
    this.parts.name.title = agent;
    this.parts.name.id = `card-${agent}`;
    this.node.setAttribute("aria-labelledby", this.parts.name.id);
    this.buttons = Object.fromEntries(Object.entries(BUTTONS).map(([name, [word, kind]]) => {
      const button = el("button", { type: "button", class: kind || null, "data-do": name }, word);
      button.hidden = true;
      return [name, button];
    }));
    this.parts.footer.append(...Object.values(this.buttons));
    this.node.addEventListener("click", (event) => {
      const button = event.target.closest("button[data-do]");
      if (button) this.run(button.dataset.do, button);
    });
    this.text.window.addEventListener("dblclick", () => this.run("expand"));
  }

  // ---- the state ----------------------------------------------------------------------------------------------------

  show(view) {
    const { parts } = this;
    this.view = view;
    if (view.thought !== this.thought) {
      this.thought = view.thought;
      this.text.clear();
      this.isDirty = true;
      if (this.thought && view.characters > 0 && !this.page.texts.get(this.thought)) this.fetch(this.thought);
    }
    this.showStateOf(view);
    setAttribute(this.node, "data-writes", WRITING.has(view.state) ? "" : null);
    const section = this.section();
    const about = [section ? section.title : view.stage !== view.agent ? view.stage : view.role];
    if (view.model || view.endpoint) about.push(modelOf(view.endpoint, view.model));
    if (view.attempt > 1) about.push(`attempt ${view.attempt}`);
    if (view.round > 1) about.push(`round ${view.round}`);
    setText(parts.about, safeText(about.filter(Boolean).join(" · ")));
    this.moveTo(view.thought ? view.progress : 0);
    setText(parts.tok, view.tokens ? count(view.tokens, "token", view.tokens_estimated) : "");
    setText(parts.wrd, view.words ? count(view.words, "word") : "");
    setText(parts.prog, view.on_helix ? `t=${view.progress.toFixed(2)}` : "");
    const isLive = LIVE.has(view.state);
    const ended = view.seconds != null && !isLive ? `in ${span(view.seconds)}` : "";
    setText(parts.per, isLive ? (WRITING.has(view.state) && view.rate ? `${perSecond(view.rate)} tok/s` : "") : ended);
    this.spark(isLive ? view.rates : []);
    if (view.truncated) this.note("The text was cut off at the model's limit.", "bad");
    else this.note(view.why, view.state === "failed" ? "bad" : "");
    this.offer(view, section);
  }

  showStateOf(view) {
    const [glyph, word, tone] = STATES[view.state] ?? ["·", view.state, ""];
    const silence = view.silence_s + this.page.sinceState();
    const place = view.state === "queued" && view.place ? `, place ${view.place}` : "";
    const since = (view.state === "thinking" || view.state === "stalled") && silence >= SILENT_S ? ` ${span(silence)}` : "";
    showState(this.parts.state, [glyph, word + since + place, tone]);
    setAttribute(this.node, "data-tone", tone || null);
    this.node.dataset.state = view.state;
    this.text.hint(view.reasoning_bytes && view.state === "thinking" ? `It reasons: ${count(view.reasoning_bytes, "byte")} so far.` : HINTS[view.state]);
  }

  // What the hub said to the last command stays until something else is to be said.
  tell(sentence, tone = "") {
    this.told = [sentence, tone];
    this.note("", "");
    clearTimeout(this.forget);
    this.forget = setTimeout(() => {
      this.told = null;
      this.note(this.view?.why ?? "", "");
    }, 8000);
  }

  note(sentence, tone) {
    const [text, its] = this.told ?? [sentence, tone];
    setText(this.parts.told, safeText(text));
    this.parts.told.dataset.tone = its;
    this.parts.told.hidden = !text;
  }

  moveTo(progress) {
    if (progress === this.progress) return;
    this.progress = progress;
    this.parts.path.style.transform = `scaleX(${progress})`;
  }

  spark(rates) {
    const top = Math.max(1, ...rates);
    const points = rates.map((rate, i) => `${((i * 60) / Math.max(1, rates.length - 1)).toFixed(1)},${(15 - (13 * rate) / top).toFixed(1)}`).join(" ");
    const isFlat = !rates.some(Boolean);
    setAttribute(this.parts.spark, "points", isFlat ? "" : points);
  }

  section() {
    return this.view?.section ? this.page.overview.sections.find((one) => one.name === this.view.section) : undefined;
  }

  // Which buttons make sense now. The hub decides all the same.
  offer(view, section) {
    const isOver = ENDED.has(this.page.overview.status);
    const isOpen = LIVE.has(view.state) || ["waiting", "queued", "backing_off", "paused"].includes(view.state);
    const review = this.page.overview.review && section?.current != null && !isOver;
    const offered = {
      approve: review && !section.approved && section.awaiting,
      steer: !isOver && view.state !== "skipped" && view.state !== "cancelling",
      regenerate: !isOver && view.thought != null && view.state !== "cancelling",
      edit: review && !LIVE.has(view.state),
      reopen: review && section.approved,
      versions: (section?.versions.length ?? 0) > 1,
      cancel: !isOver && isOpen && view.state !== "cancelling",
    };
    for (const [name, isOffered] of Object.entries(offered)) {
      const button = this.buttons[name];
      if (button.hidden === !isOffered) continue;
      if (!isOffered && document.activeElement === button) this.node.focus();
      button.hidden = !isOffered;
    }
  }

  // ---- the text -----------------------------------------------------------------------------------------------------

  // One that the page has let go of, or never had.
  async fetch(thought) {
    try {
      const { text } = await getJson(thoughtPath(this.page.run, thought));
      if (this.thought !== thought || this.page.texts.get(thought)) return;
      this.page.texts.put(thought, text);
      this.page.cards.touch(thought);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.tell(error.message, "bad");
    }
  }

  // Once for each frame in which something came, and only if somebody can see it.
  flush() {
    this.isDirty = false;
    this.text.take(this.thought ? this.page.texts.get(this.thought) : null);
  }

  // ---- commands -----------------------------------------------------------------------------------------------------

  async run(what, button = this.buttons[what]) {
    const { page, agent, thought } = this;
    const section = this.section();
    switch (what) {
      case "expand":
        if (thought) await readerDialog(page, thought, agent);
        else this.tell("It has not said anything yet.");
        return;
      case "copy":
        await this.copyText();
        return;
      case "steer":
      case "regenerate":
        if (!button.hidden) steerDialog(page, this, what);
        return;
      case "edit":
        if (!button.hidden) await editDialog(page, section, button, (sentence) => this.tell(sentence));
        return;
      case "versions":
        if (!button.hidden) await versionsDialog(page, section);
        return;
      case "cancel":
        if (button.hidden) return;
        confirmDialog({
          title: `Cancel ${agent}?`,
          about: "It stops now. What it has written so far is kept, and the other agents go on.",
          yes: "Cancel it",
          no: "Let it write",
          act: () => post(`${agentPath(page.run, agent)}/cancel`),
          done: (reply) => this.tell(reply.sentence ?? "Cancelled."),
        });
        return;
      default:
        if (!button.hidden && !button.disabled) await this.decide(what, button, section);
    }
  }

  async decide(what, button, section) {
    try {
      const body = what === "approve" ? { version: section.current } : {};
      const reply = await whilePending(button, () => post(`${sectionPath(this.page.run, section.name)}/${what}`, body));
      this.tell(reply.sentence ?? "");
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.tell(error.message, "bad");
    }
  }

  async copyText() {
    if (!this.thought) {
      this.tell("There is no text to copy yet.");
      return;
    }
    try {
      const { text } = await getJson(thoughtPath(this.page.run, this.thought));
      await copy(text);
      this.tell(`Copied ${count(wordsIn(text), "word")}.`);
    } catch (error) {
      this.tell(error.message, "bad");
    }
  }
}
