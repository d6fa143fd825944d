// What all dialogs do: open with the focus inside, close by a button, Esc or a click beside it, and give the focus back.

import { Refused } from "./api.js";
import { whilePending } from "./dom.js";

export function prepare(dialog) {
  for (const button of dialog.querySelectorAll("[data-close]")) button.addEventListener("click", () => dialog.close());
  dialog.addEventListener("mousedown", (event) => {
    dialog.pressedBeside = event.target === dialog;
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog && dialog.pressedBeside) dialog.close();
  });
  dialog.addEventListener("close", () => {
    const { opener } = dialog;
    dialog.opener = null;
    // A card may have been made anew meanwhile: then its agent's card has the focus.
    if (opener?.isConnected && !opener.disabled && !opener.hidden) opener.focus();
    else opener?.fallback?.focus();
  });
  return dialog;
}

export function open(dialog, focus) {
  const error = dialog.querySelector(".error");
  if (error) error.hidden = true;
  dialog.opener = document.activeElement;
  if (dialog.opener) dialog.opener.fallback = dialog.opener.closest(".card");
  if (!dialog.open) dialog.showModal();
  focus?.focus();
}

export function fail(dialog, sentence) {
  const error = dialog.querySelector(".error");
  error.textContent = sentence;
  error.hidden = false;
  error.focus();
}

// Press, wait, close; an error stays in the dialog with what was typed.
export async function submit(dialog, button, act) {
  dialog.querySelector(".error").hidden = true;
  try {
    const reply = await whilePending(button, act);
    dialog.close();
    return reply;
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    fail(dialog, error.message);
    return null;
  }
}
