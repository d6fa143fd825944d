"""The report keeps what a person wrote, and draws a picture for light and dark pages."""

from __future__ import annotations

import xml.etree.ElementTree
from pathlib import Path

import pytest

from benchmarks.harness import Bar, Outcome, Panel, Row, Table
from benchmarks.report import BEGIN, BEGIN_OF, DOCUMENT, END, END_OF, draw, file_system, generated, write

OUTCOME = Outcome(
    rows=[Row("partials/s", "9", "≥ 10", False), Row("cores", "1", "—", None)],
    tables=[Table("Side by side", ["system", "p99"], [["one", "1.0"]], "A remark.")],
    panels=[Panel("Throughput", "partials/s", [Bar("one", 3.0), Bar("ours", 4.0, ours=True)])],
    versions=["other 1.2"],
)


def test_only_what_is_between_the_markers_changes(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text(f"# Mine\n\n{BEGIN}\nold\n{END}\n\nAlso mine.\n")
    write(document, "new\n")
    write(document, "newer\n")
    assert document.read_text() == f"# Mine\n\n{BEGIN}\nnewer\n{END}\n\nAlso mine.\n"


@pytest.mark.parametrize("text", ["no markers", f"{END}{BEGIN}", BEGIN, f"{BEGIN}{END}{BEGIN}{END}"])
def test_a_document_without_its_markers_is_left_alone(tmp_path: Path, text: str) -> None:
    document = tmp_path / "performance.md"
    document.write_text(text)
    with pytest.raises(ValueError, match="must have one"):
        write(document, "new")
    assert document.read_text() == text


def test_the_real_document_has_its_markers() -> None:
    text = (Path(__file__).parents[2] / DOCUMENT).read_text()
    assert (text.count(BEGIN), text.count(END)) == (1, 1)


def test_what_is_generated_says_all_of_it(tmp_path: Path) -> None:
    text = generated(OUTCOME, command="python -m benchmarks.run --quick", quick=True, parent=tmp_path, minutes=3.2)
    assert "| partials/s | 9 | ≥ 10 | **no** |" in text
    assert "| cores | 1 | — | — |" in text
    assert "### Side by side\n\n| system | p99 |\n|---|---|\n| one | 1.0 |\n\nA remark." in text
    assert "other 1.2" in text
    assert "`python -m benchmarks.run --quick`" in text
    assert "quick run" in text
    assert str(tmp_path) not in text


def test_the_file_system_is_known_by_its_type() -> None:
    assert file_system(Path("/proc")) in {"proc", ""}


def test_the_plot_is_for_light_and_dark_pages(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="only in the bench extra")
    lines = Panel("Growth", "µs", lines={"agents": [(1.0, 5.0), (10.0, 6.0)]}, across="growth")
    path = tmp_path / "plot.svg"
    draw([*OUTCOME.panels, lines], path)
    svg = path.read_text()
    xml.etree.ElementTree.fromstring(svg)
    assert "prefers-color-scheme: dark" in svg
    assert all(text in svg for text in ("Throughput", "ours", "agents"))


def test_one_benchmark_has_markers_of_its_own_and_a_run_of_everything_empties_them(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    begin, end = BEGIN_OF.format("growth"), END_OF.format("growth")
    failed = "| growth | failed: TimeoutError | — | **no** |\n"
    document.write_text(f"{BEGIN}\n{failed}all\n{END}\n\n{begin}\n{end}\nMine.\n")
    write(document, "grown", "growth")
    assert document.read_text() == f"{BEGIN}\nall\n{END}\n\n{begin}\ngrown\n{end}\nMine.\n"
    write(document, "all anew")
    assert document.read_text() == f"{BEGIN}\nall anew\n{END}\n\n{begin}\n{end}\nMine.\n"
