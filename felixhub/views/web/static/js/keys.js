// Single keys, and the help that is made from the same list. They can be switched off, and never act while one types.

import { open, prepare } from "./dialog.js";
import { $, el } from "./dom.js";

const dialog = prepare($("help"));
const KEPT = "felixhub-keys";

export function bindKeys(page) {
  const card = (what) => () => page.cards.current()?.run(what);
  const inRun = (act) => () => page.run && act();
  const onAgents = (act) => () => page.run && page.tab === "agents" && act();
  const keys = [
    ["?", "This help", () => open(dialog)],
    ["n", "Start another run", () => page.go(null)],
    ["1 2 3", "Agents, document, events", null, { 1: inRun(() => page.showTab("agents", true)), 2: inRun(() => page.showTab("document", true)), 3: inRun(() => page.showTab("log", true)) }],
    ["j k", "Next, previous agent", null, { j: onAgents(() => page.cards.move(1)), k: onAgents(() => page.cards.move(-1)) }],
    ["o", "Grid or one", onAgents(() => page.cards.setOne(!page.cards.isOne))],
    ["/", "Filter the agents", onAgents(() => $("filter").focus())],
    ["p", "Pause the view", inRun(() => page.pauseView())],
    ["Enter", "On an agent: the whole text", null],
    ["s", "Steer it", card("steer")],
    ["r", "Regenerate it", card("regenerate")],
    ["c", "Cancel it", card("cancel")],
    ["e", "Edit its section", card("edit")],
    ["a", "Approve its section", card("approve")],
    ["A", "Approve all", inRun(() => !$("approve-all").hidden && page.documents.approveAll())],
    ["v", "Its versions", card("versions")],
    ["y", "Copy its text", card("copy")],
  ];
  const acts = {};
  for (const [key, , act, more] of keys) Object.assign(acts, act ? { [key]: act } : {}, more ?? {});
  $("keys").append(...keys.flatMap(([key, words]) => [el("dt", {}, ...key.split(" ").flatMap((one) => [el("kbd", {}, one), " "])), el("dd", {}, words)]));

  const on = $("keys-on");
  try { on.checked = localStorage.getItem(KEPT) !== "off"; } catch { /* a private window */ }
  on.addEventListener("change", () => {
    try { localStorage.setItem(KEPT, on.checked ? "on" : "off"); } catch { /* for this page only */ }
  });
  $("help-button").addEventListener("click", () => open(dialog));

  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (document.querySelector("dialog[open]")) return;
    const { target } = event;
    if (target.closest("input, textarea, select, [contenteditable]")) {
      if (event.key === "Escape") target.blur();
      return;
    }
    if (target.matches(".card")) {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (step) page.cards.move(step);
      else if (event.key === "Enter") page.cards.current()?.run("expand");
      if (step || event.key === "Enter") return event.preventDefault();
    }
    const act = on.checked && acts[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}
