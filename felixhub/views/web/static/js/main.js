// The page put together: one stream, one state, every panel shows it. Owns: which run is shown, the address, the tabs,
// Pause view, and the three words for those who cannot see. Must not: derive anything that the Overview says.

import { Refused, getJson, runPath } from "./api.js";
import { Cards } from "./cards.js";
import { Connection } from "./connection.js";
import { Documents } from "./documents.js";
import { $, setText } from "./dom.js";
import { Head } from "./head.js";
import { HelixPicture } from "./helix.js";
import { Home } from "./home.js";
import { bindKeys } from "./keys.js";
import { Log } from "./log.js";
import { RateChart } from "./rate.js";
import { refreshReader } from "./reader.js";
import { showEnd } from "./steer.js";
import { Stream } from "./stream.js";
import { TAIL, Texts } from "./texts.js";
import { Timeline } from "./timeline.js";
import { ENDED } from "./words.js";

const TABS = ["agents", "document", "log"];

class Page {
  constructor() {
    this.run = null;
    this.overview = null;
    this.receivedAt = 0;
    this.texts = new Texts();
    this.isPaused = false;
    this.tab = "agents";
    this.frame = 0;
    this.connection = new Connection(() => this.checkRun());
    this.head = new Head(this);
    this.home = new Home(this);
    this.cards = new Cards(this);
    this.documents = new Documents(this);
    this.log = new Log(this);
    this.timeline = new Timeline(this);
    this.rateChart = new RateChart(this);
    this.helix = new HelixPicture(this);
    this.stream = new Stream({
      snapshot: (data) => this.start(data),
      events: (events) => this.take(events),
      state: (overview) => this.setState(overview),
      lines: (lines) => this.log.take(lines),
      reset: (data) => this.startOver(data),
      hub: (data) => this.connection.setHub(data.state),
      runs: (runs) => this.home.showRuns(runs),
      gone: ({ why }) => this.gone(why),
      connection: (state) => this.connection.set(state),
    });
    this.bind();
  }

  bind() {
    bindKeys(this);
    $("pause-view").addEventListener("click", () => this.pauseView());
    for (const name of TABS) $(`tab-${name}`).addEventListener("click", () => this.showTab(name));
    document.querySelector('[role="tablist"]').addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step || event.target.getAttribute("role") !== "tab") return;
      event.preventDefault();
      this.showTab(TABS[(TABS.indexOf(this.tab) + step + TABS.length) % TABS.length], true);
    });
    document.addEventListener("click", (event) => {
      const link = event.target.closest?.("a[data-run], a[data-home]");
      if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
      event.preventDefault();
      this.go(link.dataset.run ?? null);
    });
    addEventListener("popstate", () => this.route());
    document.addEventListener("visibilitychange", () => document.hidden || this.wake());
    $("show-charts").addEventListener("click", () => this.showCharts($("charts").hidden));
    this.showCharts(innerWidth > 640);
  }

  // ---- the address ------------------------------------------------------------------------------------------------------

  go(run) {
    const url = new URL(location.href);
    url.hash = "";
    if (run) url.searchParams.set("run", run);
    else url.searchParams.delete("run");
    if (url.href !== location.href) history.pushState(null, "", url);
    this.route(true);
  }

  route(moved = false) {
    const hash = new URLSearchParams(location.hash.slice(1)).get("run");
    const run = hash || new URLSearchParams(location.search).get("run");
    this.clear();
    this.run = run;
    $("home").hidden = Boolean(run);
    $("run").hidden = !run;
    document.title = run ? `${run} · FelixHub` : "FelixHub";
    if (run) {
      this.stream.open(`${runPath(run)}/events?tail=${TAIL}`);
      this.showTab("agents");
    } else {
      this.stream.open("/api/events");
      this.home.loadWorkflows();
    }
    scrollTo(0, 0);
    if (moved) $("main").focus();
  }

  clear() {
    this.overview = null;
    this.texts.tails.clear();
    this.isPaused = false;
    $("pause-view").setAttribute("aria-pressed", "false");
    for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
    for (const panel of [this.head, this.cards, this.documents, this.log, this.timeline, this.rateChart, this.helix]) panel.clear();
  }

  // ---- what comes -------------------------------------------------------------------------------------------------------

  start(snapshot) {
    this.texts.start(snapshot);
    this.cards.touchAll();
    refreshReader(true);
  }

  // What was shown is void, the numbers of the log's lines too.
  startOver({ another_log }) {
    this.log.startOver();
    if (another_log) this.connection.setAnotherLog();
  }

  take(events) {
    for (const event of events) {
      if (event.kind !== "thought.partial") continue;
      if (!this.texts.take(event)) {
        this.stream.restart();
        return;
      }
      this.cards.touch(event.thought);
      this.helix.flash(event.agent);
    }
  }

  setState(overview) {
    if (overview.run !== this.run) return;
    const before = this.overview;
    this.overview = overview;
    this.receivedAt = performance.now();
    this.announce(before, overview);
    // Texts that no card shows any more are let go of.
    if (!this.isPaused) {
      const kept = new Set(overview.agents.map((view) => view.thought));
      for (const bar of overview.timeline) if (bar.outcome === "open") kept.add(bar.thought);
      this.texts.keepOnly(kept);
    }
    this.wake();
  }

  // One frame for all panels, whatever came.
  wake() {
    if (!this.frame) this.frame = requestAnimationFrame(() => this.show());
  }

  show() {
    this.frame = 0;
    const { overview } = this;
    if (!overview || this.isPaused) return;
    this.head.show(overview);
    this.cards.show(overview);
    this.documents.show(overview);
    if (!$("charts").hidden && this.tab === "agents") {
      this.helix.show(overview);
      this.timeline.show();
      this.rateChart.show();
    }
    refreshReader();
    showEnd();
  }

  announce(before, overview) {
    if (before && before.status === overview.status) return;
    const hasEnded = ENDED.has(overview.status);
    if (!before && !hasEnded) setText($("live"), "started");
    else if (before && overview.status === "finished") setText($("live"), "finished");
    else if (before && overview.status === "failed") setText($("live"), "failed");
  }

  get isConnected() {
    return this.connection.isHere;
  }

  sinceState() {
    const { overview } = this;
    const isLive = overview && !ENDED.has(overview.status) && this.isConnected;
    return isLive ? (performance.now() - this.receivedAt) / 1000 : 0;
  }

  agentOf(name) {
    return this.overview?.agents.find((view) => view.agent === name);
  }

  // ---- the stream's end ---------------------------------------------------------------------------------------------------

  // A stream that is refused says nothing: one question does.
  async checkRun() {
    const { run } = this;
    if (!run) return;
    try {
      await getJson(runPath(run));
    } catch (error) {
      if (error instanceof Refused && error.status === 404 && this.run === run) this.gone(error.message);
    }
  }

  gone(why) {
    this.stream.close();
    this.connection.notice(`This run cannot be shown: ${why}`, "");
    if (!this.overview) setText($("task-title"), "There is no such run");
  }

  // ---- what is shown --------------------------------------------------------------------------------------------------------

  pauseView() {
    this.isPaused = !this.isPaused;
    $("pause-view").setAttribute("aria-pressed", String(this.isPaused));
    setText($("pause-view"), this.isPaused ? "Resume view" : "Pause view");
    if (this.isPaused) return;
    this.cards.wake();
    this.wake();
    this.log.show();
  }

  showTab(name, focus = false) {
    this.tab = name;
    for (const one of TABS) {
      const isIt = one === name;
      $(`tab-${one}`).setAttribute("aria-selected", String(isIt));
      $(`tab-${one}`).tabIndex = isIt ? 0 : -1;
      $(one).hidden = !isIt;
    }
    this.cards.isShown = name === "agents";
    this.documents.isShown = name === "document";
    $("agents-tools").hidden = name !== "agents";
    this.log.isShown = name === "log";
    if (name === "log") {
      this.log.show();
      if (this.log.isFollowing) this.log.box.scrollTop = this.log.box.scrollHeight;
    }
    if (focus) $(`tab-${name}`).focus();
    this.cards.wake();
    this.wake();
  }

  showCharts(isShown) {
    $("charts").hidden = !isShown;
    $("show-charts").setAttribute("aria-pressed", String(isShown));
    this.wake();
  }

  goToAgent(agent) {
    this.cards.go(agent);
  }
}

const page = new Page();
page.route();
