// Model text is data: what a browser would obey (bidi controls) or swallow (control characters) is shown instead, as
// felixhub/views/safe_text.py shows it. Owns: that table. Joiners stay: emoji and several scripts need them.

const OBEYED = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ufeff\ud800-\udfff]/u;
const EACH = new RegExp(OBEYED.source, "gu");

function shown(character) {
  const code = character.codePointAt(0);
  if (code < 0x20) return String.fromCharCode(0x2400 + code);
  if (code === 0x7f) return "\u2421";
  if (code < 0xa0) return `\\x${code.toString(16)}`;
  return `<U+${code.toString(16).toUpperCase().padStart(4, "0")}>`;
}

export const safeText = (text) => (OBEYED.test(text) ? text.replace(EACH, shown) : text);
