// The document: its sections and their approval, a preview, the downloads. Owns: when each is fetched anew.

import { Refused, getFile, getJson, getText, post, runPath, sectionPath } from "./api.js";
import { $, el, setSanitizedHtml, setText, whilePending } from "./dom.js";
import { editDialog } from "./edit.js";
import { safeText } from "./safe.js";
import { versionsDialog } from "./versions.js";
import { ENDED, SECTION_STATES, showState } from "./words.js";

const KINDS = { pdf: "PDF", md: "Markdown", html: "HTML", jsonl: "Events (JSONL)" };
const PREVIEW_MS = 600; // what changes at once is fetched once

export class Documents {
  constructor(page) {
    this.page = page;
    this.rows = new Map();
    this.isShown = false;
    this.timer = 0;
    $("approve-all").addEventListener("click", () => this.approveAll());
    this.downloads = Object.fromEntries(Object.entries(KINDS).map(([kind, word]) => {
      const button = el("button", { type: "button", disabled: true, "aria-describedby": `why-${kind}`, onclick: () => this.download(kind) }, `Download ${word}`);
      const why = el("span", { class: "muted", id: `why-${kind}` });
      $("downloads").append(el("li", {}, button, why));
      return [kind, { button, why }];
    }));
  }

  clear() {
    this.rows.clear();
    this.shownKey = this.askedKey = null;
    $("sections").replaceChildren();
    $("preview").replaceChildren();
    setText($("document-said"), "");
    setText($("document-badge"), "");
    clearTimeout(this.timer);
    this.timer = 0;
  }

  show(overview) {
    const wanted = overview.sections_wanted;
    const sentence = overview.review ? `${overview.approved} of ${wanted} approved` : "";
    setText($("document-badge"), overview.review && wanted ? `${overview.approved} of ${wanted}` : "");
    if (!this.isShown) return;
    setText($("approved"), sentence);
    $("approved").hidden = !sentence;
    $("sections-title").hidden = !overview.sections.length;
    const hasEnded = ENDED.has(overview.status);
    $("approve-all").hidden = !overview.awaiting.length || hasEnded;
    for (const section of overview.sections) this.showSection(section, overview, hasEnded);
    // The document is another when a version, an approval or the status is.
    const key = [overview.run, overview.status, overview.result_by, ...overview.sections.map((one) => `${one.name}:${one.current}:${one.approved}:${one.status}`)].join("|");
    if (key === this.askedKey) return;
    this.askedKey = key;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.refresh(key), this.shownKey ? PREVIEW_MS : 0);
  }

  showSection(section, overview, hasEnded) {
    let row = this.rows.get(section.name);
    if (!row) {
      const title = el("strong"), state = el("span", { class: "state" });
      const act = (name, word) => el("button", { type: "button", "data-do": name, onclick: (event) => this.act(name, section.name, event.currentTarget) }, word);
      row = {
        title, state,
        buttons: { approve: act("approve", "Approve"), reopen: act("reopen", "Unapprove"), edit: act("edit", "Edit"), versions: act("versions", "Versions"), go: act("go", "Agent") },
      };
      const acts = el("div", { class: "acts" }, ...Object.values(row.buttons));
      $("sections").append(el("li", { "data-section": section.name }, el("div", { class: "row" }, title, state), acts));
      this.rows.set(section.name, row);
    }
    setText(row.title, safeText(section.title));
    const [glyph, word, tone] = SECTION_STATES[section.status] ?? ["·", section.status, ""];
    showState(row.state, [glyph, section.awaiting && section.status === "ready" ? "waits for you" : word, tone]);
    const review = overview.review && !hasEnded && section.current != null;
    const offered = {
      approve: review && !section.approved && section.awaiting,
      reopen: review && section.approved,
      edit: review && section.status !== "writing",
      versions: section.versions.length > 1,
      go: true,
    };
    for (const [name, isOffered] of Object.entries(offered)) {
      const button = row.buttons[name];
      if (button.hidden === !isOffered) continue;
      if (!isOffered && document.activeElement === button) row.buttons.go.focus();
      button.hidden = !isOffered;
      button.setAttribute("aria-label", `${button.textContent} ${section.title}`);
    }
  }

  section(name) {
    return this.page.overview.sections.find((one) => one.name === name);
  }

  async act(what, name, button) {
    const section = this.section(name);
    if (what === "go") return this.page.goToAgent(section.agent);
    if (what === "versions") return versionsDialog(this.page, section);
    if (what === "edit") return editDialog(this.page, section, button, (sentence) => this.say(sentence));
    const body = what === "approve" ? { version: section.current } : {};
    return this.send(button, `${sectionPath(this.page.run, name)}/${what}`, body);
  }

  approveAll() {
    return this.send($("approve-all"), `${runPath(this.page.run)}/approve`, {});
  }

  async send(button, path, body) {
    try {
      const reply = await whilePending(button, () => post(path, body));
      this.say(reply.sentence ?? "");
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.say(error.message, "bad");
    }
  }

  say(sentence, tone = "") {
    setText($("document-said"), safeText(sentence));
    $("document-said").dataset.tone = tone;
  }

  // ---- preview and downloads ------------------------------------------------------------------------------------------

  async refresh(key) {
    const { run } = this.page;
    const there = await this.ask(run);
    await this.preview(run, there.html);
    if (this.page.run === run) this.shownKey = key;
  }

  async preview(run, { available, why } = {}) {
    const sheet = $("preview");
    if (this.page.run !== run) return;
    if (!available) {
      sheet.replaceChildren(el("p", { class: "empty" }, `There is no document yet: ${why ?? "nothing is written"}.`));
      return;
    }
    try {
      const fragment = await getText(`${runPath(run)}/document.html?fragment=1`);
      if (this.page.run !== run) return;
      const { scrollTop } = sheet;
      setSanitizedHtml(sheet, fragment);
      sheet.scrollTop = scrollTop;
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (this.page.run === run) sheet.replaceChildren(el("p", { class: "empty" }, `There is no document yet: ${error.message}`));
    }
  }

  // What can be had, before anybody presses a button that cannot do anything.
  async ask(run) {
    let there = {};
    try {
      there = await getJson(`${runPath(run)}/document`);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      for (const kind of Object.keys(KINDS)) there[kind] = { available: false, why: error.message };
    }
    if (this.page.run !== run) return there;
    for (const [kind, { button, why }] of Object.entries(this.downloads)) {
      const { available, why: reason } = there[kind] ?? { available: false, why: "not offered here" };
      button.disabled = !available;
      setText(why, available ? "" : (reason ?? "not now"));
    }
    return there;
  }

  async download(kind) {
    const { button, why } = this.downloads[kind];
    setText(why, "");
    try {
      await whilePending(button, async () => {
        const response = await getFile(`${runPath(this.page.run)}/document.${kind}`);
        const told = /filename\*=UTF-8''([^;]+)/.exec(response.headers.get("Content-Disposition") ?? "")?.[1];
        const name = told ? decodeURIComponent(told) : `${this.page.run}.${kind}`;
        const link = el("a", { href: URL.createObjectURL(await response.blob()), download: name });
        document.body.append(link);
        link.click();
        link.remove();
        setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
      });
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      setText(why, error.message);
    }
  }
}
