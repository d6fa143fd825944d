"""Writes what was measured into docs/performance.md, between two markers, and draws docs/performance.svg.

Owns: the generated part of the document. Must not: measure, or touch what a person wrote beside the markers.
"""

from __future__ import annotations

import datetime
import os
import platform
import re
import sqlite3
from pathlib import Path
from typing import Any

import zmq

from benchmarks.harness import Outcome, Panel, written
from felixhub.version import __version__

BEGIN = "<!-- measured: begin -->"
END = "<!-- measured: end -->"
BEGIN_OF = "<!-- measured: {}: begin -->"  # of one benchmark, measured again by itself
END_OF = "<!-- measured: {}: end -->"
DOCUMENT = Path("docs/performance.md")
PLOT = Path("docs/performance.svg")


def plot_of(name: str | None) -> Path:
    """Where the plot goes: that of everything, or of one benchmark by itself."""
    return PLOT if name is None else PLOT.with_stem(f"{PLOT.stem}-{name}")


# For a light and for a dark page: paper, ink, quiet ink, ours, theirs.
LIGHT = ("#ffffff", "#1f2328", "#6e7781", "#0969da", "#afb8c1")
DARK = ("#0d1117", "#e6edf3", "#8b949e", "#58a6ff", "#484f58")
LINES = (LIGHT[3], "#bc4c00", "#1a7f37", "#8250df")
DARK_LINES = (DARK[3], "#f0883e", "#56d364", "#bc8cff")


def generated(
    outcome: Outcome, *, command: str, quick: bool, parent: Path, minutes: float, name: str | None = None
) -> str:
    """The document's generated part, without the markers."""
    kind = (
        "**A quick run on a busy machine: shorter and less exact. It shows orders of magnitude.**"
        if quick
        else "A full run. Where there are several passes a figure is their median, with the range."
    )
    facts = [
        f"- When: {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC, {minutes:.0f} min",
        f"- Command: `{command}`",
        f"- Machine: {machine(parent)}",
        f"- Versions: {', '.join(versions(outcome))}",
    ]
    picture = f"\n\n![The figures below, drawn]({plot_of(name).name})" if outcome.panels else ""
    return f"{kind}\n\n" + "\n".join(facts) + picture + "\n\n### Goals\n\n" + written(outcome)


def versions(outcome: Outcome) -> list[str]:
    ours = [
        f"felixhub {__version__}",
        f"Python {platform.python_version()}",
        f"pyzmq {zmq.__version__}",
        f"libzmq {zmq.zmq_version()}",
        f"SQLite {sqlite3.sqlite_version}",
    ]
    return list(dict.fromkeys(ours + outcome.versions))


def machine(parent: Path) -> str:
    """What it runs on, without saying whose it is or where its files are."""
    facts = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = re.search(r"^model name\s*:\s*(.+)$", facts, re.MULTILINE)
    cores = f"{os.cpu_count()} cores" + (f" of {model[1]}" if model else "")
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    disk = f"data on {file_system(parent)}" if file_system(parent) else "data on an unknown file system"
    return f"{platform.system()} {platform.release().split('-')[0]}, {cores}, {disk}, load average at the end {load}"


def file_system(parent: Path) -> str:
    """The type of the file system that holds a directory, "" when the system does not tell."""
    mounts = Path("/proc/mounts")
    if not mounts.exists():
        return ""
    best = ("", "")
    for line in mounts.read_text().splitlines():
        _, where, kind, *_ = line.split()
        if parent.resolve().is_relative_to(where.replace("\\040", " ")) and len(where) >= len(best[0]):
            best = (where, kind)
    return best[1]


def write(document: Path, text: str, name: str | None = None) -> None:
    """Put `text` between the markers of a document; what is around them stays as it is.

    `name`: of a benchmark that was run by itself; its figures have markers of their own. When everything was run they
    are emptied: nothing that is older than the rest is left beside it.
    """
    begin, end = (BEGIN, END) if name is None else (BEGIN_OF.format(name), END_OF.format(name))
    whole = document.read_text()
    if whole.count(begin) != 1 or whole.count(end) != 1 or whole.index(begin) > whole.index(end):
        raise ValueError(f"{document} must have one '{begin}', and one '{end}' after it")
    before, rest = whole.split(begin)
    _, after = rest.split(end)
    whole = f"{before}{begin}\n{text.strip()}\n{end}{after}"
    if name is not None:
        # What failed when everything was run has been measured by now.
        whole = re.sub(rf"^\| {name} \| failed: .*\n", "", whole, flags=re.MULTILINE)
    else:
        whole = re.sub(
            r"(<!-- measured: (\w+): begin -->\n).*?(<!-- measured: \2: end -->)", r"\1\3", whole, flags=re.DOTALL
        )
    document.write_text(whole)


# ---- the plot --------------------------------------------------------------------------------------------------------


def draw(panels: list[Panel], path: Path) -> None:
    """The panels under each other, readable on a light and on a dark page."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update(
        {
            "svg.fonttype": "none",  # text stays text: it can be searched, and takes the page's font
            "svg.hashsalt": "felixhub",
            "font.family": "sans-serif",
            "font.size": 10,
            "text.color": LIGHT[1],
            "axes.labelcolor": LIGHT[2],
            "axes.edgecolor": LIGHT[2],
            "xtick.color": LIGHT[2],
            "ytick.color": LIGHT[1],
            "axes.facecolor": LIGHT[0],
            "figure.facecolor": LIGHT[0],
        }
    )
    from matplotlib.figure import Figure

    heights = [0.3 * len(panel.bars) + 0.9 if panel.bars else 3.0 for panel in panels]
    figure = Figure(figsize=(8.5, sum(heights) + 0.4), layout="constrained")
    axes = figure.subplots(len(panels), 1, height_ratios=heights, squeeze=False)
    for panel, axis in zip(panels, axes[:, 0], strict=True):
        axis.set_title(panel.title, loc="left", fontsize=11, fontweight="bold", color=LIGHT[1])
        axis.spines[["top", "right"]].set_visible(False)
        (_draw_bars if panel.bars else _draw_lines)(panel, axis)
    figure.savefig(path, format="svg", metadata={"Date": None})
    path.write_text(_for_dark_pages(path.read_text()))


def _draw_bars(panel: Panel, axis: Any) -> None:
    bars = list(reversed(panel.bars))
    labels, values = [bar.label for bar in bars], [bar.value for bar in bars]
    colours = [LIGHT[3] if bar.ours else LIGHT[4] for bar in bars]
    if panel.log:  # A bar's length means nothing on a logarithmic axis: dots.
        axis.scatter(values, labels, color=colours, s=55, zorder=3)
        axis.grid(axis="y", color=LIGHT[4], linewidth=0.5, linestyle=":")
        axis.set_xscale("log")
        axis.xaxis.set_minor_formatter("")  # "4 × 10⁻¹" between 0.1 and 1 helps nobody
        axis.margins(x=0.14, y=0.07)
    else:
        axis.barh(labels, values, color=colours, height=0.65)
        axis.margins(x=0.14)
    for label, value in zip(labels, values, strict=True):
        axis.annotate(
            _short(value),
            (value, label),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=LIGHT[1],
        )
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
    axis.set_xlabel(panel.axis, fontsize=9)
    axis.tick_params(axis="y", length=0)


def _draw_lines(panel: Panel, axis: Any) -> None:
    for (name, points), colour in zip(panel.lines.items(), LINES, strict=False):
        axis.plot([x for x, _ in points], [y for _, y in points], marker="o", markersize=4, color=colour, label=name)
    axis.set_xscale("log")
    axis.set_ylim(bottom=0)
    axis.xaxis.set_major_formatter(lambda value, _: f"×{value:,.0f}")
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axis.minorticks_off()
    axis.set_xlabel(panel.across, fontsize=9)
    axis.set_ylabel(panel.axis, fontsize=9)
    axis.legend(frameon=False, fontsize=9)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _for_dark_pages(svg: str) -> str:
    """The same picture with a dark page's colours where the reader has one; matplotlib knows one set of colours."""
    rules = [
        f'[style*="{kind}: {light}"] {{ {kind}: {dark} !important; }}'
        for light, dark in zip(LIGHT + LINES[1:], DARK + DARK_LINES[1:], strict=True)
        for kind in ("fill", "stroke")
    ]
    style = f"<style>@media (prefers-color-scheme: dark) {{ {' '.join(rules)} }}</style>"
    return re.sub(r"(<svg[^>]*>)", lambda found: found[1] + "\n " + style, svg, count=1)
