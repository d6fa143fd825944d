// Steering and regenerating: three fields beside the end of the text. A draft stays until it is sent.

import { agentPath, post } from "./api.js";
import { open, prepare, submit } from "./dialog.js";
import { $, setText } from "./dom.js";
import { safeText } from "./safe.js";
import { lastOf } from "./texts.js";

const END = 900; // characters of the text that are shown
const FIELDS = ["wrong", "instead", "constraints"];
const WORDS = {
  steer: ["Steer", "Steer it", "What it has written goes back to it with what you say here, and it goes on from there."],
  regenerate: ["Regenerate", "Regenerate", "It writes a new version. Say what to do otherwise, or leave all three empty for a fresh start."],
};

const dialog = prepare($("steer"));
const drafts = new Map(); // by run and agent
let now = null; // {page, card, kind}

const values = () => Object.fromEntries(FIELDS.map((name) => [name, $(name).value]));
const key = () => `${now.page.run}/${now.card.agent}`;

dialog.addEventListener("close", () => {
  if (Object.values(values()).some((text) => text.trim())) drafts.set(key(), values());
  else drafts.delete(key());
  now = null;
});

dialog.querySelector("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  await send();
});

dialog.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  send();
});

async function send() {
  if ($("steer-send").disabled) return;
  const { page, card, kind } = now;
  const said = values();
  if (kind === "steer" && !said.wrong.trim() && !said.instead.trim()) {
    const error = dialog.querySelector(".error");
    error.textContent = "Say what is wrong, or what you want instead: one of the two is enough.";
    error.hidden = false;
    $("wrong").focus();
    return;
  }
  const reply = await submit(dialog, $("steer-send"), () => post(`${agentPath(page.run, card.agent)}/${kind}`, said));
  if (!reply) return;
  drafts.delete(`${page.run}/${card.agent}`);
  for (const name of FIELDS) $(name).value = "";
  card.tell(reply.sentence ?? "Taken.");
}

export function steerDialog(page, card, kind) {
  now = { page, card, kind };
  const [verb, button, about] = WORDS[kind];
  setText($("steer-title"), `${verb} ${card.agent}`);
  setText($("steer-about"), about);
  setText($("steer-send"), button);
  const draft = drafts.get(key()) ?? {};
  for (const name of FIELDS) $(name).value = draft[name] ?? "";
  showEnd();
  open(dialog, $("wrong"));
}

// The end of the text grows on while one writes.
export function showEnd() {
  if (!now) return;
  const tail = now.page.texts.get(now.card.thought);
  const end = tail ? lastOf(tail.text, END) : "";
  const box = $("steer-end");
  if (!box.firstChild) box.append(document.createElement("span"));
  setText(box.firstChild, end ? (tail.total > END || tail.isCut ? "… " : "") + safeText(end) : "Nothing yet.");
}
