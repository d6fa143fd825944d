// The first page: the runs that there are, and the form that starts one. Must not: follow a run.

import { Refused, getJson, newId, post } from "./api.js";
import { $, el, setText, whilePending } from "./dom.js";
import { safeText } from "./safe.js";
import { RUN_STATES, count, short, showState, when } from "./words.js";

const FILES_MAX = 100;
const PREFERRED = "helix";

async function base64(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text);
}

export class Home {
  constructor(page) {
    this.page = page;
    this.files = [];
    this.rows = new Map();
    this.workflows = null;
    $("files").addEventListener("change", () => {
      this.add([...$("files").files]);
      $("files").value = "";
    });
    const drop = $("drop");
    for (const kind of ["dragenter", "dragover"]) {
      drop.addEventListener(kind, (event) => {
        event.preventDefault();
        drop.classList.add("over");
      });
    }
    for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("over"));
    drop.addEventListener("drop", (event) => {
      event.preventDefault();
      this.add([...event.dataTransfer.files]);
    });
    $("start").addEventListener("submit", (event) => {
      event.preventDefault();
      this.start();
    });
    $("task").addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.start();
    });
    $("task").addEventListener("input", () => this.taskError(""));
  }

  // ---- runs -----------------------------------------------------------------------------------------------------------

  showRuns(runs) {
    const seen = new Set();
    for (const run of runs) {
      seen.add(run.run);
      let row = this.rows.get(run.run);
      if (!row) {
        const state = el("span", { class: "state" }), about = el("span", { class: "muted" });
        const link = el("a", { href: `/?run=${encodeURIComponent(run.run)}`, "data-run": run.run }, el("span", { class: "task" }, safeText(short(run.task ?? run.run, 200))), state, about);
        row = { state, about, node: el("li", {}, link) };
        this.rows.set(run.run, row);
        $("runs").prepend(row.node); // The newest comes last in the list, and first here.
      }
      showState(row.state, RUN_STATES[run.status] ?? ["·", run.status, ""]);
      setText(row.about, [run.workflow, run.started_at || run.at ? when(run.started_at ?? run.at) : ""].filter(Boolean).join(" · "));
    }
    for (const [run, row] of this.rows) {
      if (seen.has(run)) continue;
      row.node.remove();
      this.rows.delete(run);
    }
    $("no-runs").hidden = runs.length > 0;
  }

  // ---- the form -------------------------------------------------------------------------------------------------------

  async loadWorkflows() {
    if (this.workflows) return;
    try {
      this.workflows = await getJson("/api/workflows");
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      $("workflows").replaceChildren(el("p", { class: "error" }, error.message));
      return;
    }
    const sound = this.workflows.filter((one) => !one.fault);
    const first = sound.find((one) => one.name === PREFERRED) ?? sound[0];
    $("workflows").replaceChildren(...sound.map((one) => {
      const input = el("input", { type: "radio", name: "workflow", value: one.name, checked: one === first, onchange: () => this.showOptions() });
      const agents = Array.isArray(one.agents) ? one.agents.length : one.agents;
      const size = one.sections?.length > 1 ? count(one.sections.length, "section") : count(agents, "role");
      return el("label", { class: "choice" }, input, el("strong", {}, one.name), el("span", {}, `${one.about || size}`));
    }));
    this.options = el("div", { class: "options" });
    $("workflows").after(this.options);
    this.showOptions();
  }

  showOptions() {
    const chosen = this.workflows.find((one) => one.name === this.workflow());
    this.options.replaceChildren(...(chosen?.options ?? []).map((name) =>
      el("label", { class: "switch" }, el("input", { type: "checkbox", role: "switch", name: "include", value: name }), el("span", { class: "track", "aria-hidden": "true" }), el("span", {}, `with ${name}`))));
  }

  workflow() {
    return $("start").querySelector('input[name="workflow"]:checked')?.value;
  }

  add(files) {
    for (const file of files) if (this.files.length < FILES_MAX) this.files.push(file);
    $("chosen").replaceChildren(...this.files.map((file) => {
      const remove = el("button", { type: "button", class: "icon", onclick: () => {
        this.files = this.files.filter((one) => one !== file);
        this.add([]);
        $("files").focus();
      } }, el("span", { "aria-hidden": "true" }, "✕"), el("span", { class: "sr" }, `Leave out ${file.name}`));
      return el("li", {}, safeText(file.name), el("span", { class: "muted" }, `${count(Math.max(1, Math.round(file.size / 1024)), "kB").replace(/s$/, "")}`), remove);
    }));
  }

  taskError(sentence) {
    setText($("task-error"), sentence);
    $("task-error").hidden = !sentence;
    if (sentence) $("task").setAttribute("aria-invalid", "true");
    else $("task").removeAttribute("aria-invalid");
  }

  async start() {
    const button = $("start-button");
    if (button.disabled) return;
    $("start-error").hidden = true;
    const task = $("task").value;
    if (!task.trim()) {
      this.taskError("Say what the team should work on.");
      $("task").focus();
      return;
    }
    const budget = $("budget").value.replace(/[\s,.]/g, "");
    if (budget && !/^\d+$/.test(budget)) {
      this.startError("The token budget is a number, for example 20000.");
      return;
    }
    try {
      const reply = await whilePending(button, async () => {
        const body = {
          task,
          workflow: this.workflow(),
          review: $("review").checked,
          files: await Promise.all(this.files.map(async (file) => ({ name: file.name, base64: await base64(file) }))),
          include: [...$("start").querySelectorAll('input[name="include"]:checked')].map((input) => input.value),
        };
        if ($("llm").value.trim()) body.llm = $("llm").value.trim();
        if ($("model").value.trim()) body.model = $("model").value.trim();
        if (budget) body.budget_tokens = Number(budget);
        return post("/api/runs", body, `${body.workflow.slice(0, 40)}-${newId(3)}`); // The run is called so.
      });
      this.files = [];
      this.add([]);
      $("task").value = "";
      this.page.go(reply.run);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.startError(error.message);
    }
  }

  startError(sentence) {
    setText($("start-error"), sentence);
    $("start-error").hidden = false;
    $("start-error").focus();
  }
}
