"""What the page costs a browser while forty agents write ten times a second: long tasks, memory, and the first paint.

    python -m benchmarks.page [--quick] [--directory DIR]

A real gateway, and headless Chromium with one tab of 1440 by 900. A long task is one that kept the page from answering
for over 100 ms; those of the first second, in which the page is made, do not count. Memory is looked at after a garbage
collection, ten seconds after the first card was there and at the end. The first paint is that of several pages, one
after the other while the agents write, each in a context that has nothing cached.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.chromium import running_chromium
from benchmarks.harness import Options, Row, agent_names, cpu_s, main, note, running_hub, running_load, start_run

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

AGENTS = 40
HZ = 10.0
FULL_S = 60.0
QUICK_S = 20.0
EARLY_S = 10.0
LONG_MS = 100.0
PAINTS = 7
MADE_MS = 1_000.0  # the first second
GOAL_PAINT_MS = 1_000.0
GOAL_CORES = 0.25
GROWTH_MAX = 1.10  # of what there was early
HEAP_SLACK_BYTES = 1_000_000
SHOWN_MS_MAX = 60_000
_WATCH = """
window.longTasks = [];
new PerformanceObserver((list) => {
    for (const task of list.getEntries()) window.longTasks.push([task.startTime, task.duration]);
}).observe({ type: "longtask", buffered: true });
"""


@dataclass(frozen=True, slots=True)
class Memory:
    heap_bytes: int
    nodes: int


@dataclass(frozen=True, slots=True)
class Gateway:
    address: str
    pid: int


@contextlib.contextmanager
def running_gateway(directory: Path) -> Iterator[Gateway]:
    arguments = ["web", "--hub", str(directory), "--no-open", "--port", "0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "felixhub", *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        if found is None:
            raise RuntimeError("the gateway does not start")
        yield Gateway(found[0], process.pid)
    finally:
        process.terminate()
        process.wait(20)
        if process.stdout:
            process.stdout.close()


def opened(browser: Browser, address: str) -> Page:
    """A page in a context of its own: nothing is cached."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.add_init_script(_WATCH)
    page.goto(address)
    page.locator(".card").nth(AGENTS - 1).wait_for(timeout=SHOWN_MS_MAX)
    return page


def paint_ms(page: Page) -> float:
    """From the navigation to the first content."""
    return float(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))


def memory_of(page: Page) -> Memory:
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    session.send("HeapProfiler.collectGarbage")
    found = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    session.detach()
    return Memory(int(found["JSHeapUsedSize"]), int(found["Nodes"]))


def measure(options: Options) -> list[Row]:
    seconds = QUICK_S if options.quick else FULL_S
    agents = agent_names(AGENTS)
    with options.directory() as directory, running_hub(directory) as hub, running_gateway(directory) as gateway:
        run = start_run(hub, agents)
        with running_load(hub, agents) as load:
            load.tell(("pace", {"hz": HZ, "seconds": seconds + EARLY_S}))
            with running_chromium() as browser:
                page = opened(browser, f"{gateway.address}?run={run}")
                began, before = time.monotonic(), cpu_s(gateway.pid)
                page.wait_for_timeout(EARLY_S * 1000)
                early = memory_of(page)
                page.wait_for_timeout((seconds - (time.monotonic() - began)) * 1000)
                cores = (cpu_s(gateway.pid) - before) / (time.monotonic() - began)
                late = memory_of(page)
                tasks = [task for task in page.evaluate("window.longTasks") if task[0] > MADE_MS]
                shown = page.locator(".card .text .said").first.text_content()
                paints = [paint_ms(page)]  # the first one with a browser that has just been started
                page.close()
                for _ in range(PAINTS - 1):
                    page = opened(browser, f"{gateway.address}?run={run}")
                    paints.append(paint_ms(page))
                    page.close()
            load.ask()
    paint = median(paints)
    worst = max((duration for _, duration in tasks), default=0.0)
    note(f"page: {len(tasks)} tasks over 50 ms, the worst {worst:.0f} ms; {early} -> {late}; a card {len(shown or '')}")
    long = sum(duration > LONG_MS for _, duration in tasks)
    is_flat = late.heap_bytes <= early.heap_bytes * GROWTH_MAX + HEAP_SLACK_BYTES
    what = f"the page: {AGENTS} cards at {HZ:.0f} Hz, {seconds:.0f} s"
    return [
        Row(f"{what}: tasks over {LONG_MS:.0f} ms after the first second", f"{long}", "0", long == 0),
        Row(
            "the same: the longest task, in ms (0: none over 50)", f"{worst:.0f}", f"≤ {LONG_MS:.0f}", worst <= LONG_MS
        ),
        Row(
            f"the same: JavaScript's memory after {EARLY_S:.0f} s and at the end, in MB",
            f"{early.heap_bytes / 1e6:.1f}, {late.heap_bytes / 1e6:.1f}",
            "flat",
            is_flat,
        ),
        Row(
            f"the same: nodes of the page after {EARLY_S:.0f} s and at the end",
            f"{early.nodes:,}, {late.nodes:,}",
            "flat",
            late.nodes <= early.nodes * GROWTH_MAX,
        ),
        Row(
            f"the same: first paint, median of {PAINTS}, in ms",
            f"{paint:.0f} ({min(paints):.0f} to {max(paints):.0f}, {paints[0]:.0f} in a browser just started)",
            f"≤ {GOAL_PAINT_MS:.0f}",
            paint <= GOAL_PAINT_MS,
        ),
        Row("the same: cores of the gateway for one client", f"{cores:.2f}", f"≤ {GOAL_CORES}", cores <= GOAL_CORES),
    ]


if __name__ == "__main__":
    main(measure, __doc__)
