// States and figures in words, the same as in the console (felixhub/views/wording.py). Must not: derive a state.

// What an agent does: glyph, word, and the tone that colours it.
export const STATES = {
  waiting: ["·", "waiting", ""],
  queued: ["·", "queued", ""],
  backing_off: ["↺", "backing off", "warn"],
  thinking: ["…", "thinking", "busy"],
  streaming: ["▶", "streaming", "busy"],
  regenerating: ["↻", "regenerating", "busy"],
  stalled: ["⚠", "stalled", "warn"],
  cancelling: ["■", "cancelling", ""],
  paused: ["‖", "paused", ""],
  cancelled: ["■", "cancelled", ""],
  final: ["✓", "final", "good"],
  approved: ["★", "approved", "seal"],
  failed: ["✗", "failed", "bad"],
  skipped: ["·", "skipped", ""],
};

const OFFLINE = "offline", OFFLINE_MODEL = "offline-extractive"; // the endpoint that is always there, and its model

// The model that thinks, or the endpoint while nobody has named one.
export const modelOf = (endpoint, model) => (endpoint === OFFLINE || model === OFFLINE_MODEL ? "offline model, extractive" : model || endpoint);

export const RUN_STATES = {
  running: ["▶", "running", "busy"],
  paused: ["‖", "paused", ""],
  cancelling: ["■", "stopping", ""],
  cancelled: ["■", "cancelled", ""],
  finished: ["✓", "finished", "good"],
  failed: ["✗", "failed", "bad"],
};

export const SECTION_STATES = {
  writing: ["▶", "being written", "busy"],
  waiting: ["·", "waiting", ""],
  skipped: ["·", "not asked for", ""],
  cancelled: ["■", "cancelled", ""],
  missing: ["✗", "missing", "bad"],
  truncated: ["⚠", "cut off", "warn"],
  stale: ["⚠", "out of date", "warn"],
  approved: ["★", "approved", "seal"],
  ready: ["✓", "ready", "good"],
  final: ["✓", "final", "good"],
};

export const LIVE = new Set(["thinking", "streaming", "regenerating", "stalled", "cancelling"]);
export const WRITING = new Set(["streaming", "regenerating"]);
export const ENDED = new Set(["finished", "failed", "cancelled"]);

export const number = (value) => Math.round(value).toLocaleString("en");
export const count = (value, noun, estimated = false) => `${estimated ? "~" : ""}${number(value)} ${noun}${Math.round(value) === 1 ? "" : "s"}`;
export const perSecond = (value) => (value >= 10 ? number(value) : value.toFixed(1));

export function span(seconds) {
  if (seconds < 0.1) return `${seconds.toFixed(2)} s`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 120) return `${whole} s`;
  if (whole < 7200) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

// Elapsed time as a clock: it does not jump about while it ticks.
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (value) => String(value).padStart(2, "0");
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

export const timeOfDay = (at) => new Date(at * 1000).toLocaleTimeString("en-GB");

export function when(at) {
  const date = new Date(at * 1000);
  const today = new Date().toDateString() === date.toDateString();
  const time = date.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  return today ? time : `${date.toLocaleDateString("en-GB", { day: "numeric", month: "short" })}, ${time}`;
}

// A text of any length in one line of the page; what is left out is in the events.
export const short = (text, characters) => (text.length <= characters ? text : `${text.slice(0, characters - 1)}…`);

export const wordsIn = (text) => (text.match(/\S+/g) ?? []).length;

// Glyph and word into a `.state` element; the glyph is for the eyes.
export function showState(node, [glyph, word, tone]) {
  const key = `${glyph} ${word} ${tone}`;
  if (node.lastState === key) return;
  node.lastState = key;
  node.dataset.tone = tone;
  const sign = document.createElement("span");
  sign.setAttribute("aria-hidden", "true");
  sign.className = "glyph";
  sign.textContent = glyph;
  node.replaceChildren(sign, word);
}
