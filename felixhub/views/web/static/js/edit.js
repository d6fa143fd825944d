// A new version of a section, written by a person. The version that it was made from is sent along: who is late is told.

import { getJson, post, sectionPath } from "./api.js";
import { fail, open, prepare, submit } from "./dialog.js";
import { $, setText, whilePending } from "./dom.js";
import { safeText } from "./safe.js";
import { count, wordsIn } from "./words.js";

const dialog = prepare($("edit"));
const drafts = new Map(); // by run and section: {text, version}, the version that it was made from
let now = null; // {page, section, version, made, was, tell}

const key = () => `${now.page.run}/${now.section.name}`;

const showCounts = () => setText($("edit-counts"), `${count(wordsIn($("edit-text").value), "word")} · ${count($("edit-text").value.length, "character")}`);
$("edit-text").addEventListener("input", showCounts);

// Closing throws away nothing that was written: it is there when the section is edited again.
dialog.addEventListener("close", () => {
  const text = $("edit-text").value;
  if (text === now.was) drafts.delete(key());
  else drafts.set(key(), { text, version: now.made });
});

dialog.querySelector("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const { page, section, version, tell } = now;
  const text = $("edit-text").value;
  const reply = await submit(dialog, $("edit-send"), () => post(`${sectionPath(page.run, section.name)}/edit`, { text, version }));
  if (!reply) return;
  now.was = text; // What is saved is no draft.
  tell(reply.sentence ?? "Saved.");
});

const madeFrom = ({ made, version }) =>
  made === version
    ? `Made from version ${version}.`
    : `Your draft was made from version ${made}, and version ${version} has come since: what is new in it is not in your draft.`;

export async function editDialog(page, section, button, tell) {
  let text = "";
  let wrong = null;
  try {
    ({ text } = await whilePending(button, () => getJson(`${sectionPath(page.run, section.name)}/versions/${section.current}`)));
  } catch (error) {
    wrong = error;
  }
  setText($("edit-title"), `Edit “${safeText(section.title)}”`);
  $("edit-text").value = text;
  now = { page, section, version: section.current, made: section.current, was: $("edit-text").value, tell };
  const draft = wrong ? null : drafts.get(key());
  if (draft) {
    $("edit-text").value = draft.text;
    now.made = draft.version;
  }
  setText($("edit-about"), `${madeFrom(now)} Markdown is fine. Saving makes a new version; the old ones stay.`);
  showCounts();
  button.focus();
  open(dialog, $("edit-text"));
  $("edit-text").setSelectionRange(0, 0);
  $("edit-text").scrollTop = 0;
  $("edit-send").disabled = wrong !== null;
  if (wrong) fail(dialog, wrong.message);
}
