// One whole text: fetched when it is wanted, live while it grows, in blocks so that a long one stays quick. It follows
// until one scrolls up, then counts what is new.

import { getJson, getText, thoughtPath } from "./api.js";
import { fail, open, prepare } from "./dialog.js";
import { $, copy, el, setSanitizedHtml, setText } from "./dom.js";
import { safeText } from "./safe.js";
import { byteLength, lastOf, withoutBytes } from "./texts.js";
import { STATES, count, number, showState, wordsIn } from "./words.js";

const CHUNK = 6000; // characters of one block; cut at a line end where there is one
const REASONING = 60_000; // characters of it that are shown, its end
const NEAR = 40; // px from the end: still following

const dialog = prepare($("reader"));
const box = $("reader-text");
let now = null; // {page, thought, agent, text, end, waiting, isFollowing, unseen}
let frame = 0;
let pending = "";

function append(text) {
  let rest = text;
  while (rest) {
    let last = box.lastElementChild;
    const room = last ? CHUNK - last.firstChild.length : 0;
    if (!last || room <= 0) {
      last = el("div", { class: "chunk" }, document.createTextNode(""));
      box.append(last);
      continue;
    }
    let take = Math.min(room, rest.length);
    if (take < rest.length) {
      const line = rest.lastIndexOf("\n", take - 1);
      if (line >= 0) take = line + 1;
      else if (last.firstChild.length > CHUNK / 2) {
        const split = last.firstChild.data.lastIndexOf("\n");
        if (split >= 0) {
          rest = last.firstChild.data.slice(split + 1) + rest;
          last.firstChild.deleteData(split + 1, last.firstChild.length);
          box.append(el("div", { class: "chunk" }, document.createTextNode("")));
          continue;
        }
      }
      const code = rest.charCodeAt(take - 1);
      if (code >= 0xd800 && code < 0xdc00) take += 1;
    }
    last.firstChild.appendData(rest.slice(0, take));
    rest = rest.slice(take);
  }
}

function flush() {
  frame = 0;
  if (!now || !pending) return;
  const fresh = pending;
  pending = "";
  append(safeText(fresh));
  if (now.isFollowing) box.scrollTop = box.scrollHeight;
  else now.unseen += wordsIn(fresh);
  showCounts();
}

function showCounts() {
  const newer = $("reader-newer");
  newer.hidden = now.isFollowing || !now.unseen;
  setText(newer, `↓ ${number(now.unseen)} new`);
  const view = now.page.agentOf(now.agent);
  const isShown = view?.thought === now.thought;
  const words = isShown ? view.words : wordsIn(now.text);
  const tokens = isShown ? ` · ${count(view.tokens, "token", view.tokens_estimated)}` : "";
  setText($("reader-counts"), `${count(now.text.length, "character")} · ${count(words, "word")}${tokens}`);
}

function isAtEnd() {
  return box.scrollHeight - box.scrollTop - box.clientHeight <= NEAR;
}

box.addEventListener("scroll", () => {
  if (!now) return;
  now.isFollowing = isAtEnd();
  if (now.isFollowing) now.unseen = 0;
  showCounts();
}, { passive: true });

$("reader-newer").addEventListener("click", () => {
  box.scrollTop = box.scrollHeight;
  box.focus();
});
$("reader-copy").addEventListener("click", async () => {
  await copy(now.text);
  setText($("reader-counts"), "Copied.");
});
$("reader-plain").addEventListener("click", () => showForm(false));
$("reader-shown").addEventListener("click", () => showForm(true));

async function showForm(rendered) {
  $("reader-plain").setAttribute("aria-pressed", String(!rendered));
  $("reader-shown").setAttribute("aria-pressed", String(rendered));
  box.hidden = rendered;
  $("reader-html").hidden = !rendered;
  if (!rendered) return;
  const { page, thought } = now;
  try {
    const fragment = await getText(`${thoughtPath(page.run, thought)}.html`);
    if (now?.thought === thought) setSanitizedHtml($("reader-html"), fragment);
  } catch (error) {
    await showForm(false);
    fail(dialog, error.message);
  }
}

function take(thought, offset, text) {
  if (!now || thought !== now.thought) return;
  if (now.waiting) {
    now.waiting.push([offset, text]);
    return;
  }
  if (offset > now.end) {
    load(); // Something is missing: the whole text again.
    return;
  }
  const fresh = withoutBytes(text, now.end - offset);
  now.text += fresh;
  now.end += byteLength(fresh);
  pending += fresh;
  if (!now.page.isPaused) frame ||= requestAnimationFrame(flush);
}

async function load() {
  const mine = now;
  mine.waiting = [];
  try {
    const found = await getJson(thoughtPath(mine.page.run, mine.thought));
    if (now !== mine) return;
    mine.text = found.text;
    mine.end = byteLength(found.text);
    pending = "";
    showReasoning(found.reasoning);
    box.replaceChildren();
    append(safeText(found.text));
    const late = mine.waiting;
    mine.waiting = null;
    for (const [offset, text] of late) take(mine.thought, offset, text);
    if (mine.isFollowing) box.scrollTop = box.scrollHeight;
    showCounts();
  } catch (error) {
    if (now === mine) fail(dialog, error.message);
  }
}

function showReasoning(text) {
  const details = $("reader-reasoning");
  details.hidden = !text;
  setText(details.querySelector("summary"), `Reasoning · ${count(text.length, "character")}`);
  setText(details.querySelector("div"), safeText(lastOf(text, REASONING)));
}

dialog.addEventListener("close", () => {
  now?.page.texts.readers.delete(take);
  now = null;
  box.replaceChildren();
  $("reader-html").replaceChildren();
});

// What the agent does, and whether its text can be rendered, as of the last state. After a reset: the text again.
export function refreshReader(isReset = false) {
  if (!now) return;
  const view = now.page.agentOf(now.agent);
  if (view?.thought === now.thought) showState($("reader-state"), STATES[view.state]);
  const bar = now.page.overview?.timeline.find((one) => one.thought === now.thought);
  $("reader-forms").hidden = bar?.outcome !== "final";
  if (isReset) load();
  else if (!now.waiting) showCounts();
  if (pending && !now.page.isPaused) frame ||= requestAnimationFrame(flush);
}

export function readerDialog(page, thought, agent) {
  const bar = page.overview?.timeline.find((one) => one.thought === thought);
  now = { page, thought, agent, text: "", end: 0, waiting: [], isFollowing: bar?.outcome === "open", unseen: 0 };
  setText($("reader-title"), agent);
  const end = bar?.outcome === "final" ? STATES.final : bar?.outcome === "abandoned" ? ["✗", "abandoned", "bad"] : STATES.streaming;
  showState($("reader-state"), end);
  box.hidden = false;
  $("reader-html").hidden = true;
  $("reader-plain").setAttribute("aria-pressed", "true");
  $("reader-shown").setAttribute("aria-pressed", "false");
  page.texts.readers.add(take);
  open(dialog, box);
  refreshReader();
  if (bar?.outcome === "final") showForm(true); // To read it, not to watch it.
  return load();
}
