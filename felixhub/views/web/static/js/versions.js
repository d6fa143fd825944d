// Two versions of a section side by side in one text: what came is marked, what went is struck out.

import { getJson, sectionPath } from "./api.js";
import { fail, open, prepare } from "./dialog.js";
import { $, el, setText } from "./dom.js";
import { safeText } from "./safe.js";
import { when } from "./words.js";

const dialog = prepare($("versions"));
let now = null; // {page, section}

const TAGS = { "+": "ins", "-": "del" };

function fill(select, versions, chosen) {
  select.replaceChildren(...versions.map((one) => el("option", { value: one.number }, `version ${one.number}, by ${safeText(one.by)}, ${when(one.at)}`)));
  select.value = String(chosen);
}

async function compare() {
  const { page, section } = now;
  const [a, b] = [Number($("version-a").value), Number($("version-b").value)];
  const box = $("versions-diff");
  dialog.querySelector(".error").hidden = true;
  box.setAttribute("aria-busy", "true");
  try {
    const pieces = a === b
      ? [["=", (await getJson(`${sectionPath(page.run, section.name)}/versions/${a}`)).text]]
      : await getJson(`${sectionPath(page.run, section.name)}/diff?a=${a}&b=${b}`);
    const shown = pieces.map(([op, words]) => {
      const tag = TAGS[op];
      return tag ? el(tag, {}, safeText(words)) : document.createTextNode(safeText(words));
    });
    box.replaceChildren(...shown);
    const changes = box.querySelectorAll("ins, del").length;
    setText($("versions-about"), a === b ? "one version, nothing to compare" : changes ? "" : "the two are the same");
  } catch (error) {
    box.replaceChildren();
    fail(dialog, error.message);
  } finally {
    box.removeAttribute("aria-busy");
  }
}

for (const id of ["version-a", "version-b"]) $(id).addEventListener("change", compare);

export async function versionsDialog(page, section) {
  now = { page, section };
  setText($("versions-title"), `Versions of “${safeText(section.title)}”`);
  const { versions } = section;
  fill($("version-a"), versions, versions.at(-2)?.number ?? versions.at(-1).number);
  fill($("version-b"), versions, versions.at(-1).number);
  $("versions-diff").replaceChildren();
  open(dialog, $("version-b"));
  await compare();
}
