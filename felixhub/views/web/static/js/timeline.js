// The timeline: a row for each agent, a bar for each thought. Drawn on one canvas; a table stands behind it.

import { $, el, fillTable, setText } from "./dom.js";
import { readerDialog } from "./reader.js";
import { ENDED, span } from "./words.js";

const LABEL = 104; // px for the names
const NAMED_MAX = 15; // more rows than this get thin, and have no names: they are in the table
const STEPS = [0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400];
const DRAW_S = 0.25; // not more often than this: the bars move slowly

export class Timeline {
  constructor(page) {
    this.page = page;
    this.holder = $("timeline");
    this.canvas = el("canvas", { "aria-hidden": "true" });
    this.tip = el("div", { class: "tip", "aria-hidden": "true" });
    this.tip.hidden = true;
    this.holder.append(this.canvas, this.tip);
    this.boxes = []; // {x, y, w, h, bar}
    this.drawnAt = 0;
    new ResizeObserver(() => this.draw(true)).observe(this.holder);
    addEventListener("felixhub-theme", () => this.draw(true));
    this.canvas.addEventListener("mousemove", (event) => this.hover(event));
    this.canvas.addEventListener("mouseleave", () => (this.tip.hidden = true));
    this.canvas.addEventListener("click", (event) => {
      const box = this.boxAt(event);
      if (box) readerDialog(page, box.bar.thought, box.bar.agent);
    });
    $("timeline-table").addEventListener("toggle", () => this.table());
    setInterval(() => this.draw(), 500);
  }

  clear() {
    this.boxes = [];
    this.canvas.getContext("2d").clearRect(0, 0, this.canvas.width, this.canvas.height);
  }

  show() {
    this.draw();
    if (performance.now() - (this.tabledAt ?? 0) > 2000) this.table();
  }

  draw(isNow = false) {
    const { overview } = this.page;
    if (!overview || document.hidden || this.page.isPaused || !this.holder.clientWidth) return;
    if (!isNow && performance.now() - this.drawnAt < DRAW_S * 1000) return;
    this.drawnAt = performance.now();
    const rows = this.rows(overview);
    const width = this.holder.clientWidth;
    const row = Math.min(42, Math.max(rows.length > NAMED_MAX ? 5 : 13, Math.floor((this.holder.clientHeight - 26) / rows.length)));
    const height = rows.length * row + 22;
    const ratio = devicePixelRatio || 1;
    if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
      this.canvas.style.width = `${width}px`;
      this.canvas.style.height = `${height}px`;
    }
    const pen = this.canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    this.paint(pen, this.colours(), overview, rows, { width, height, row });
  }

  rows(overview) {
    const places = new Map(overview.agents.map((view, i) => [view.agent, i]));
    const rows = overview.agents.map((view) => ({ agent: view.agent, bars: [] }));
    for (const bar of overview.timeline) rows[places.get(bar.agent)]?.bars.push(bar);
    return rows;
  }

  colours() {
    const style = getComputedStyle(document.documentElement);
    const probe = this.probe ??= document.body.appendChild(el("span", { class: "sr", "aria-hidden": "true" }));
    const of = (name) => {
      probe.style.color = `var(--${name})`;
      return getComputedStyle(probe).color;
    };
    return { ink: of("ink"), soft: of("soft"), line: of("line"), edge: of("edge"), accent: of("accent"), bad: of("bad"), surface: of("surface"), font: style.getPropertyValue("--ui") };
  }

  paint(pen, ink, overview, rows, { width, height, row }) {
    const goesOn = !ENDED.has(overview.status) && this.page.isConnected;
    const now = overview.elapsed_s + (goesOn ? this.page.sinceState() : 0);
    const left = row >= 11 ? Math.min(LABEL, width * 0.3) : 4, right = width - 10;
    const x = (seconds) => left + ((right - left) * Math.min(seconds, now)) / Math.max(now, 1);
    const step = STEPS.find((one) => now / one <= Math.max(3, (right - left) / 90)) ?? STEPS.at(-1);
    pen.font = `11px ${ink.font}`;
    pen.lineWidth = 1;
    pen.textBaseline = "middle";
    for (let at = 0; at <= now; at += step) {
      pen.strokeStyle = ink.line;
      this.line(pen, Math.round(x(at)) + 0.5, 0, height - 20);
      pen.fillStyle = ink.soft;
      pen.textAlign = at === 0 ? "left" : "center";
      if (x(at) < right - 14) pen.fillText(span(at).replace(/^0\.00 s$/, "0"), x(at), height - 9);
    }
    const hatch = this.hatch(pen, ink.edge);
    this.boxes = [];
    const size = Math.max(3, Math.min(14, row > 20 ? row - 8 : row * 0.62));
    rows.forEach(({ agent, bars }, i) => {
      const y = i * row + row / 2;
      pen.textAlign = "left";
      pen.fillStyle = ink.soft;
      if (row >= 11) pen.fillText(this.fit(pen, agent, left - 10), 0, y);
      for (const bar of bars) this.bar(pen, ink, hatch, bar, { x, y, size, now, isSynthesis: bar.thought === overview.synthesis });
    });
    const synthesis = overview.timeline.find((bar) => bar.thought === overview.synthesis);
    if (synthesis) {
      pen.strokeStyle = ink.ink;
      pen.setLineDash([2, 3]);
      this.line(pen, Math.round(x(synthesis.start)) + 0.5, 0, height - 20);
      pen.setLineDash([]);
    }
  }

  bar(pen, ink, hatch, bar, { x, y, size, now, isSynthesis }) {
    const from = x(bar.start), until = x(bar.end ?? now);
    const first = bar.first_token == null ? until : x(bar.first_token);
    const top = y - size / 2;
    if (first > from + 0.5) {
      pen.fillStyle = hatch;
      pen.fillRect(from, top, first - from, size);
      pen.strokeStyle = ink.edge;
      pen.globalAlpha = 0.6;
      pen.strokeRect(from + 0.5, top + 0.5, Math.max(0, first - from - 1), size - 1);
      pen.globalAlpha = 1;
    }
    if (bar.first_token != null) {
      pen.fillStyle = bar.outcome === "abandoned" ? ink.edge : isSynthesis ? ink.ink : ink.accent;
      pen.globalAlpha = bar.outcome === "open" ? 0.72 : 1;
      pen.beginPath();
      pen.roundRect(first, top, Math.max(1.5, until - first), size, 2);
      pen.fill();
      pen.globalAlpha = 1;
      this.diamond(pen, ink, first, y, Math.max(2, size / 2 - 0.5));
    }
    if (bar.checkpoint > 0) { // Where on the helix it began.
      pen.strokeStyle = ink.ink;
      this.line(pen, Math.round(from) + 0.5, top - 3, top + size + 3);
    }
    if (bar.outcome === "final") {
      pen.strokeStyle = ink.surface;
      pen.lineWidth = 2;
      this.line(pen, until - 1, top, top + size);
      pen.lineWidth = 1;
    } else if (bar.outcome === "abandoned") {
      pen.strokeStyle = ink.bad;
      pen.lineWidth = 1.6;
      const r = size / 3;
      pen.beginPath();
      pen.moveTo(until - r, y - r);
      pen.lineTo(until + r, y + r);
      pen.moveTo(until + r, y - r);
      pen.lineTo(until - r, y + r);
      pen.stroke();
      pen.lineWidth = 1;
    }
    this.boxes.push({ x: from, y: top, w: Math.max(6, until - from), h: size, bar });
  }

  diamond(pen, ink, x, y, r) {
    pen.fillStyle = ink.surface;
    pen.strokeStyle = ink.ink;
    pen.beginPath();
    pen.moveTo(x, y - r);
    pen.lineTo(x + r, y);
    pen.lineTo(x, y + r);
    pen.lineTo(x - r, y);
    pen.closePath();
    pen.fill();
    pen.stroke();
  }

  line(pen, x, from, to) {
    pen.beginPath();
    pen.moveTo(x, from);
    pen.lineTo(x, to);
    pen.stroke();
  }

  hatch(pen, colour) {
    const tile = new OffscreenCanvas(6, 6);
    const ink = tile.getContext("2d");
    ink.strokeStyle = colour;
    ink.lineWidth = 1.1;
    for (const shift of [-6, 0, 6]) {
      ink.beginPath();
      ink.moveTo(shift, 6);
      ink.lineTo(shift + 6, 0);
      ink.stroke();
    }
    return pen.createPattern(tile, "repeat");
  }

  fit(pen, name, width) {
    if (pen.measureText(name).width <= width) return name;
    let cut = name;
    while (cut.length > 1 && pen.measureText(`${cut}…`).width > width) cut = cut.slice(0, -1);
    return `${cut}…`;
  }

  boxAt(event) {
    const { left, top } = this.canvas.getBoundingClientRect();
    const x = event.clientX - left, y = event.clientY - top;
    return this.boxes.findLast((box) => x >= box.x && x <= box.x + box.w && y >= box.y - 2 && y <= box.y + box.h + 2);
  }

  hover(event) {
    const box = this.boxAt(event);
    this.canvas.style.cursor = box ? "pointer" : "default";
    this.tip.hidden = !box;
    if (!box) return;
    setText(this.tip, this.sentence(box.bar));
    this.tip.style.left = `${Math.max(0, Math.min(box.x, this.holder.clientWidth - 230))}px`;
    this.tip.style.top = `${box.y + box.h + 6}px`;
  }

  sentence(bar) {
    const first = bar.first_token == null ? "no token yet" : `first token after ${span(bar.first_token - bar.start)}`;
    const end = bar.end == null ? "" : `, ${this.outcome(bar)} after ${span(bar.end - bar.start)}`;
    const at = bar.checkpoint > 0 ? `, from ${bar.checkpoint} on the helix` : "";
    return `${bar.agent}, attempt ${bar.attempt}${at}: ${first}${end}`;
  }

  outcome(bar) {
    return bar.outcome === "abandoned" ? `abandoned${bar.reason ? ` (${bar.reason})` : ""}` : bar.outcome;
  }

  table() {
    this.tabledAt = performance.now();
    const bars = this.page.overview?.timeline ?? [];
    fillTable($("timeline-table"), "Thoughts in time", ["Agent", "Started", "First token", "Ended", "Outcome", ""], () =>
      bars.slice(-200).map((bar) => [
        bar.agent,
        span(bar.start),
        bar.first_token == null ? "–" : span(bar.first_token),
        bar.end == null ? "–" : span(bar.end),
        this.outcome(bar),
        el("button", { type: "button", class: "quiet", onclick: () => readerDialog(this.page, bar.thought, bar.agent) }, "Read"),
      ]));
  }
}
