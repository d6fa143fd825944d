// The helix: the curve of felixhub/core/helix.py seen a little from above, the agents as dots where their progress is,
// CentralPost in the middle, and a flash when a batch of text arrives. Must not: derive a progress.

import { $, fillTable, setAttribute, setText, svg } from "./dom.js";
import { STATES } from "./words.js";

const TOP = 3.0, BOTTOM = 0.5, HEIGHT = 8.0, TURNS = 2.0; // as in core/helix.py
const MARKS = [0.0, 0.3, 0.5, 0.7, 0.9];
const SAMPLES = 220;
const W = 350, H = 232, CX = 175, Y0 = 34, ACROSS = 48, DOWN = 22, TILT = 9.5;
const FLASH_MS = 520, BETWEEN_MS = 260, AT_ONCE = 10;
const CROWD_MIN = 13; // so many agents would keep the picture moving all the time: then dots jump, and flashes do not fade
const FAN_MAX = 3;
const LINE = 12;
const NAMED_MAX = 9; // more names than this would cover the curve

// Where progress t lies on the screen; `front` is how near it is, -1 to 1.
export function place(t) {
  const radius = BOTTOM * Math.pow(TOP / BOTTOM, 1 - t);
  const angle = 2 * Math.PI * TURNS * t;
  const front = Math.sin(angle);
  return { x: CX + ACROSS * radius * Math.cos(angle), y: Y0 + DOWN * HEIGHT * t + TILT * radius * front, front };
}

export class HelixPicture {
  constructor(page) {
    this.page = page;
    this.dots = new Map();
    this.flashedAt = new Map();
    this.flashing = 0;
    this.calm = matchMedia("(prefers-reduced-motion: reduce)");
    this.behind = svg("g");
    this.beams = svg("g");
    this.front = svg("g");
    this.root = svg("svg", { viewBox: `0 0 ${W} ${H}`, "aria-hidden": "true" }, this.behind, this.beams, this.front);
    $("helix").append(this.root);
    this.draw();
    $("helix-table").addEventListener("toggle", () => this.table());
  }

  draw() {
    const middle = Y0 + (DOWN * HEIGHT) / 2;
    this.middle = middle;
    for (const t of [...MARKS, 1.0]) {
      const radius = BOTTOM * Math.pow(TOP / BOTTOM, 1 - t);
      this.behind.append(svg("ellipse", { class: "ring", cx: CX, cy: Y0 + DOWN * HEIGHT * t, rx: ACROSS * radius, ry: TILT * radius }));
    }
    this.behind.append(svg("line", { class: "axis", x1: CX, y1: Y0, x2: CX, y2: Y0 + DOWN * HEIGHT }));
    let run = [], side = null;
    const paths = { back: [], front: [] };
    for (let i = 0; i <= SAMPLES; i++) {
      const at = place(i / SAMPLES);
      const now = at.front >= 0 ? "front" : "back";
      if (side && now !== side) {
        paths[side].push([...run, at]);
        run = [];
      }
      run.push(at);
      side = now;
    }
    paths[side].push(run);
    const d = (points) => points.map(({ x, y }, i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
    for (const points of paths.back) this.behind.append(svg("path", { class: "strand back", d: d(points) }));
    this.behind.append(svg("circle", { class: "post-halo", cx: CX, cy: middle, r: 15 }), svg("circle", { class: "post", cx: CX, cy: middle, r: 6 }));
    for (const points of paths.front) this.front.append(svg("path", { class: "strand front", d: d(points) }));
    for (const t of MARKS) {
      const { x, y } = place(t);
      this.front.append(svg("circle", { class: "mark-dot", cx: x, cy: y, r: 2.6 }));
      const isRight = x >= CX;
      this.front.append(svg("text", { class: "mark-word", x: x + (isRight ? 7 : -7), y: y - 5, "text-anchor": isRight ? "start" : "end" }, t.toFixed(1)));
    }
  }

  clear() {
    for (const { node, beam } of this.dots.values()) {
      node.remove();
      beam.remove();
    }
    this.dots.clear();
  }

  show(overview) {
    if (!$("helix").clientWidth) return;
    const labels = [];
    const near = new Map(); // how many dots stand at a place already
    const isNamed = overview.agents.length <= NAMED_MAX;
    this.isCrowd = overview.agents.length >= CROWD_MIN;
    this.root.classList.toggle("crowd", this.isCrowd);
    for (const view of overview.agents) {
      const dot = this.dots.get(view.agent) ?? this.add(view.agent);
      const at = place(view.progress);
      const spot = Math.round(view.progress * 40);
      const order = near.get(spot) ?? 0;
      near.set(spot, order + 1);
      const out = at.x >= CX ? 1 : -1;
      const { x, y } = this.beside(view.progress, at, out, order, 1 + this.others(overview, spot));
      const move = `translate(${x.toFixed(1)}px, ${y.toFixed(1)}px)`;
      if (dot.move !== move) dot.node.style.transform = dot.move = move;
      [dot.x, dot.y] = [x, y];
      setAttribute(dot.node, "data-tone", STATES[view.state]?.[2] ?? "");
      const isAlone = isNamed && order === 0;
      setText(dot.name, isAlone ? this.label(overview, view, spot) : "");
      if (isAlone) labels.push({ dot, out, y });
      setAttribute(dot.name, "x", out * (11 + 11 * Math.min(7, this.others(overview, spot))));
      setAttribute(dot.name, "text-anchor", out > 0 ? "start" : "end");
      setText(dot.title, `${view.agent}: ${STATES[view.state]?.[1] ?? view.state}, ${view.progress.toFixed(2)}`);
    }
    this.apart(labels);
    if (performance.now() - (this.tabledAt ?? 0) > 2000) this.table();
  }

  // Names of neighbours do not lie on each other.
  apart(labels) {
    const lowest = { 1: -Infinity, "-1": -Infinity };
    for (const { dot, out, y } of labels.sort((a, b) => a.y - b.y)) {
      const at = Math.max(y, lowest[out] + LINE);
      lowest[out] = at;
      setAttribute(dot.name, "y", (at - y + 4).toFixed(1));
    }
  }

  label(overview, view, spot) {
    const others = this.others(overview, spot);
    return others ? `${view.agent} and ${others} more` : view.agent;
  }

  // Two or three at one place stand side by side, outwards; more of them around the axis, ten to a ring.
  beside(t, at, out, order, all) {
    if (all <= FAN_MAX) return { x: at.x + out * order * 11, y: at.y };
    const lap = Math.floor(order / 10), inLap = Math.min(10, all - lap * 10);
    const radius = BOTTOM * Math.pow(TOP / BOTTOM, 1 - t);
    const angle = 2 * Math.PI * (TURNS * t + (order % 10) / inLap + lap / 20);
    return {
      x: CX + (Math.max(16, ACROSS * radius) + 13 * lap) * Math.cos(angle),
      y: Y0 + DOWN * HEIGHT * t + (Math.max(7, TILT * radius) + 7 * lap) * Math.sin(angle),
    };
  }

  others(overview, spot) {
    return overview.agents.filter((one) => Math.round(one.progress * 40) === spot).length - 1;
  }

  add(agent) {
    const title = svg("title"), name = svg("text", { y: 4 });
    const node = svg("g", { class: "dot" }, svg("circle", { r: 5.5 }), name, title);
    node.addEventListener("click", () => this.page.goToAgent(agent));
    const beam = svg("line", { class: "beam", x2: CX, y2: this.middle });
    this.beams.append(beam);
    this.front.append(node);
    const dot = { node, name, title, beam, x: CX, y: this.middle };
    this.dots.set(agent, dot);
    return dot;
  }

  // A batch has arrived: a flash from the agent to the middle, a few at once, none for who wants it calm.
  flash(agent) {
    if (this.calm.matches || document.hidden || this.page.isPaused || this.flashing >= (this.isCrowd ? AT_ONCE / 2 : AT_ONCE) || !$("helix").clientWidth) return;
    const dot = this.dots.get(agent);
    const now = performance.now();
    if (!dot || now - (this.flashedAt.get(agent) ?? 0) < BETWEEN_MS) return;
    this.flashedAt.set(agent, now);
    setAttribute(dot.beam, "x1", dot.x);
    setAttribute(dot.beam, "y1", dot.y);
    this.flashing += 1;
    const done = () => (this.flashing -= 1);
    if (this.isCrowd) {
      dot.beam.classList.add("on");
      setTimeout(() => {
        dot.beam.classList.remove("on");
        done();
      }, FLASH_MS / 2);
      return;
    }
    dot.beam.animate([{ opacity: 0.85 }, { opacity: 0 }], { duration: FLASH_MS, easing: "ease-out" }).finished.then(done, done);
  }

  table() {
    this.tabledAt = performance.now();
    const agents = this.page.overview?.agents ?? [];
    fillTable($("helix-table"), "Agents on the helix", ["Agent", "Progress", "Checkpoint", "State"], () =>
      agents.map((view) => [view.agent, view.progress.toFixed(2), view.checkpoint.toFixed(1), STATES[view.state]?.[1] ?? view.state]));
  }
}
