// One question before something that cannot be undone.

import { open, prepare, submit } from "./dialog.js";
import { $, setText } from "./dom.js";

const dialog = prepare($("confirm"));
let wanted = null;

dialog.querySelector("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const reply = await submit(dialog, $("confirm-yes"), wanted.act);
  if (reply) wanted.done?.(reply);
});

export function confirmDialog({ title, about, yes, no, act, done }) {
  wanted = { act, done };
  setText($("confirm-title"), title);
  setText($("confirm-about"), about);
  setText($("confirm-yes"), yes);
  setText($("confirm-no"), no);
  open(dialog, $("confirm-no"));
}
