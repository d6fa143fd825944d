// The head of a run: task, state, figures, Pause view, Pause run, Stop run. Must not: derive a figure.

import { Refused, post, runPath } from "./api.js";
import { confirmDialog } from "./confirm.js";
import { $, el, setText, whilePending } from "./dom.js";
import { safeText } from "./safe.js";
import { ENDED, RUN_STATES, clock, count, number, perSecond, short, showState, span } from "./words.js";

const TASK_MAX = 600; // characters of it in the heading

export class Head {
  constructor(page) {
    this.page = page;
    $("pause-run").addEventListener("click", () => this.pauseRun());
    $("stop-run").addEventListener("click", () => this.stop());
    setInterval(() => this.tick(), 500);
  }

  clear() {
    for (const id of ["elapsed", "tokens", "rate", "first-token"]) setText($(id), "–");
    setText($("task-title"), "");
    setText($("run-about"), "");
    setText($("run-said"), "");
    $("outcome").hidden = true;
    $("outcome").lastKey = null;
    showState($("run-state"), ["○", "looking it up", ""]);
  }

  show(overview) {
    setText($("task-title"), safeText(short(overview.task, TASK_MAX)));
    const [sign] = RUN_STATES[overview.status] ?? ["·"];
    document.title = `${sign} ${safeText(short(overview.task, 60))} · FelixHub`;
    showState($("run-state"), RUN_STATES[overview.status] ?? ["·", overview.status, ""]);
    const review = overview.review ? " · with review" : "";
    setText($("run-about"), `${overview.run} · ${overview.workflow} · ${count(overview.agents.length, "agent")}${review}`);
    setText($("tokens"), number(overview.tokens));
    setText($("rate"), perSecond(overview.rate));
    const p50 = overview.first_token_p50_s, p95 = overview.first_token_p95_s;
    setText($("first-token"), p50 == null ? "–" : `${span(p50)} · ${span(p95)}`);
    const hasEnded = ENDED.has(overview.status);
    $("stop-run").hidden = hasEnded;
    $("pause-run").hidden = hasEnded;
    $("pause-view").hidden = hasEnded;
    setText($("pause-run"), overview.status === "paused" ? "Resume run" : "Pause run");
    this.showOutcome(overview, hasEnded);
    this.tick();
  }

  showOutcome(overview, hasEnded) {
    const box = $("outcome");
    const awaiting = overview.awaiting.length;
    let tone = "", sentence = "", action = null;
    if (overview.status === "failed") [tone, sentence] = ["bad", overview.error || "The run failed."];
    else if (overview.status === "finished" && overview.degraded.length) {
      [tone, sentence] = ["warn", `Finished, but degraded: ${overview.degraded.join("; ")}`];
    } else if (overview.status === "finished") {
      sentence = `Finished in ${span(overview.elapsed_s)}${overview.result_by ? "" : ", every text is in the document"}.`;
    } else if (overview.status === "cancelled") sentence = "Cancelled. What was written until then is kept.";
    else if (awaiting) sentence = `${count(awaiting, "section")} ${awaiting === 1 ? "waits" : "wait"} for your approval.`;
    if (overview.status === "finished" || (awaiting && !hasEnded)) action = "document";
    const key = `${tone}|${sentence}|${action}`;
    if (box.lastKey === key) return;
    box.lastKey = key;
    box.hidden = !sentence;
    box.dataset.tone = tone;
    const text = el("p", {}, safeText(sentence));
    const button = el("button", { type: "button", onclick: () => this.page.showTab("document", true) }, hasEnded ? "Read the document" : "Review them");
    box.replaceChildren(text, ...(action ? [button] : []));
  }

  tick() {
    const overview = this.page.overview;
    if (!overview || document.hidden || this.page.isPaused) return;
    const goesOn = !ENDED.has(overview.status) && this.page.isConnected;
    setText($("elapsed"), clock(overview.elapsed_s + (goesOn ? this.page.sinceState() : 0)));
  }

  async pauseRun() {
    const isPaused = this.page.overview?.status === "paused";
    await this.command($("pause-run"), isPaused ? "resume" : "pause");
  }

  stop() {
    const { run } = this.page;
    confirmDialog({
      title: "Stop this run?",
      about: "Everything that is being written stops. What there is so far is kept, and can be read and downloaded.",
      yes: "Stop the run",
      no: "Let it run",
      act: () => post(`${runPath(run)}/cancel`),
    });
  }

  async command(button, name) {
    const said = $("run-said");
    said.dataset.tone = "";
    setText(said, "");
    try {
      const reply = await whilePending(button, () => post(`${runPath(this.page.run)}/${name}`));
      setText(said, safeText(reply.sentence ?? ""));
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      said.dataset.tone = "bad";
      setText(said, error.message);
    }
  }
}
