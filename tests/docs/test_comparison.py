"""docs/comparison.md: every figure in it is one of docs/performance.md, which the bench writes."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
MEASURED = re.compile(r"\d{1,3}(?:,\d{3})+|\d+\.\d+")  # a thousands' comma or a decimal point: a measurement


def test_every_figure_was_measured() -> None:
    measured = (DOCS / "performance.md").read_text(encoding="utf-8")
    figures = set(MEASURED.findall((DOCS / "comparison.md").read_text(encoding="utf-8")))
    assert len(figures) > 5
    # 6.7 stands for 6.74 and the like: a rounded figure is the beginning of one that was measured.
    unknown = [one for one in figures if not re.search(rf"(?<![\d.,]){re.escape(one)}", measured)]
    assert not unknown, f"the bench has other figures now, write them into docs/comparison.md: {unknown}"
