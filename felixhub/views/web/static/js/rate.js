// Tokens per second of the whole run, as the Overview has them. Drawn by uPlot (static/vendor/uplot).

import { $, fillTable } from "./dom.js";
import { ENDED, number, perSecond, timeOfDay } from "./words.js";

const SHOWN_S = 600; // the last ten minutes

export class RateChart {
  constructor(page) {
    this.page = page;
    this.holder = $("rate-plot");
    this.plot = null;
    new ResizeObserver(() => this.fit()).observe(this.holder);
    addEventListener("felixhub-theme", () => this.make());
    $("rate-table").addEventListener("toggle", () => this.table());
  }

  clear() {
    this.plot?.destroy();
    this.plot = null;
    this.curve = null;
  }

  colour(name) {
    const probe = document.createElement("span");
    probe.style.color = `var(--${name})`;
    document.body.append(probe);
    const { color } = getComputedStyle(probe);
    probe.remove();
    return color;
  }

  make() {
    if (!this.holder.clientWidth || !this.data()) return;
    this.plot?.destroy();
    const soft = this.colour("soft"), line = this.colour("line"), accent = this.colour("accent"), wash = this.colour("accent-wash");
    const font = `11px ${getComputedStyle(document.body).fontFamily}`;
    const axis = { stroke: soft, font, grid: { stroke: line, width: 1 }, ticks: { show: false } };
    this.plot = new globalThis.uPlot({
      width: this.holder.clientWidth,
      height: this.holder.clientHeight,
      padding: [8, 14, 0, 0],
      legend: { show: false },
      cursor: { show: false },
      scales: { x: { time: false }, y: { range: (_, low, high) => [0, Math.max(10, high * 1.12)] } },
      axes: [
        { ...axis, size: 26, space: 56, incrs: [1, 2, 5, 10, 15, 30, 60, 120, 300, 600], grid: { show: false }, values: (_, ticks) => ticks.map((tick) => `${number(tick)} s`) },
        { ...axis, size: 42, values: (_, ticks) => ticks.map((tick) => number(tick)) },
      ],
      series: [{}, { stroke: accent, width: 1.75, fill: wash, points: { show: false } }],
    }, this.data(), this.holder);
  }

  data() {
    const { overview } = this.page;
    if (!overview?.curve.length) return null;
    // The second that goes on is not whole yet: it would look like a fall.
    const until = overview.curve.length - (ENDED.has(overview.status) ? 0 : 1);
    if (until < 1) return null;
    const from = Math.max(0, until - SHOWN_S);
    const zero = overview.curve_from - Math.floor(overview.started_at);
    const shown = overview.curve.slice(from, until);
    return [shown.map((_, i) => zero + from + i), shown];
  }

  show() {
    if (!this.holder.clientWidth) return;
    const data = this.data();
    if (!data) return;
    const key = `${data[0].length}/${data[0].at(-1)}/${data[1].at(-1)}/${data[1].at(-2)}`;
    if (key === this.curve) return;
    this.curve = key;
    if (this.plot) this.plot.setData(data);
    else this.make();
    this.table();
  }

  fit() {
    if (!this.holder.clientWidth || !this.holder.clientHeight) return;
    if (this.plot) this.plot.setSize({ width: this.holder.clientWidth, height: this.holder.clientHeight });
    else this.make();
  }

  table() {
    const { overview } = this.page;
    if (!overview) return;
    fillTable($("rate-table"), "Tokens per second", ["Second", "Time", "Tokens"], () => {
      const from = Math.max(0, overview.curve.length - 120);
      return overview.curve.slice(from).map((value, i) => {
        const at = overview.curve_from + from + i;
        return [`${at - Math.floor(overview.started_at)}`, timeOfDay(at), perSecond(value)];
      });
    });
  }
}
