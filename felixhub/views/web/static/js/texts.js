// The ends of the texts that grow. Owns: where each one ends (UTF-8 bytes), so that nothing is lost or doubled, and a
// bounded tail of it. Must not: touch the page. Whole texts are asked for when somebody wants to read one.

export const TAIL = 6000; // characters

export function byteLength(text) {
  let bytes = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x80) bytes += 1;
    else if (code < 0x800) bytes += 2;
    else if (code >= 0xd800 && code < 0xdc00) {
      bytes += 4;
      i++;
    } else bytes += 3;
  }
  return bytes;
}

// The text without its first so many bytes.
export function withoutBytes(text, bytes) {
  let i = 0;
  for (; i < text.length && bytes > 0; i++) {
    const code = text.charCodeAt(i);
    bytes -= code < 0x80 ? 1 : code < 0x800 ? 2 : code >= 0xd800 && code < 0xdc00 ? 4 : 3;
    if (code >= 0xd800 && code < 0xdc00) i++;
  }
  return text.slice(i);
}

export function lastOf(text, characters) {
  if (text.length <= characters) return text;
  const cut = text.slice(-characters);
  const code = cut.charCodeAt(0);
  return code >= 0xdc00 && code < 0xe000 ? cut.slice(1) : cut; // half of a pair
}

// One text. `end` is in bytes; `total` counts characters that came, so that a reader knows how many are new to it.
class Tail {
  constructor(text, end) {
    this.text = lastOf(text, TAIL);
    this.end = end;
    this.total = text.length;
    this.isCut = end > byteLength(this.text);
  }

  // What is new of a piece; null when something is missing before it.
  take(offset, text) {
    if (offset > this.end) return null;
    const fresh = offset === this.end ? text : withoutBytes(text, this.end - offset);
    if (!fresh) return "";
    this.end += byteLength(fresh);
    this.total += fresh.length;
    this.text += fresh;
    if (this.text.length > 2 * TAIL) {
      this.text = lastOf(this.text, TAIL);
      this.isCut = true;
    }
    return fresh;
  }
}

export class Texts {
  constructor() {
    this.tails = new Map(); // by thought
    this.readers = new Set(); // functions (thought, offset, text) of whoever reads a whole text
  }

  start(snapshot) {
    this.tails.clear();
    for (const { thought, channel, offset, text } of snapshot.texts) {
      if (channel === "text") this.tails.set(thought, new Tail(text, offset + byteLength(text)));
    }
  }

  // False when text is missing: the caller starts over from a snapshot.
  take(event) {
    if (event.channel !== "text") return true;
    let tail = this.tails.get(event.thought);
    if (!tail) {
      // One that was let go of, since no card shows it: it is fetched if it is wanted again.
      if (event.offset > 0) return true;
      tail = new Tail("", 0);
      this.tails.set(event.thought, tail);
    }
    const ok = tail.take(event.offset, event.text) !== null;
    for (const reader of this.readers) reader(event.thought, event.offset, event.text);
    return ok;
  }

  put(thought, text) {
    this.tails.set(thought, new Tail(text, byteLength(text)));
  }

  get(thought) {
    return this.tails.get(thought);
  }

  keepOnly(thoughts) {
    for (const thought of this.tails.keys()) if (!thoughts.has(thought)) this.tails.delete(thought);
  }
}
