"""Places on the helix, and what follows from them."""

from __future__ import annotations

import math

import pytest

from felixhub.core import helix
from felixhub.core.helix import CHECKPOINTS, Helix

LONG = "\n".join(["word " * 50] * 6)  # 300 words in six lines: all of the text's bonus


def test_the_top_is_wide_and_the_bottom_narrow() -> None:
    curve = Helix()
    assert curve.point(0.0) == (3.0, 0.0, 8.0)
    bottom = curve.point(1.0)
    assert (math.hypot(bottom.x, bottom.y), bottom.z) == (pytest.approx(0.5), 0.0)


def test_two_turns_pass_the_start_s_side_at_half_way() -> None:
    half = Helix().point(0.5)
    assert (half.x, half.y, half.z) == (pytest.approx(math.sqrt(3.0 * 0.5)), pytest.approx(0.0, abs=1e-9), 4.0)


def test_the_radius_shrinks_all_the_way() -> None:
    radii = [Helix().radius(t / 100) for t in range(101)]
    assert radii == sorted(radii, reverse=True)


@pytest.mark.parametrize("t", [-0.001, 1.001, math.nan, math.inf])
def test_there_is_no_place_outside(t: float) -> None:
    with pytest.raises(ValueError, match="outside"):
        Helix().point(t)


@pytest.mark.parametrize(
    ("t", "name"),
    [(0.0, "exploration"), (0.299, "exploration"), (0.3, "analysis"), (0.699, "analysis"), (0.7, "synthesis")],
)
def test_the_three_phases(t: float, name: str) -> None:
    assert helix.phase(t) == name


@pytest.mark.parametrize(
    ("role", "t", "expected"),
    [
        ("research", 0.0, 0.9),
        ("research", 1.0, 0.4),
        ("research", 0.5, 0.65),
        ("analysis", 0.0, 0.7),
        ("analysis", 0.3, 0.55),
        ("critic", 1.0, 0.1),
        ("synthesis", 0.5, 0.3),
    ],
)
def test_it_gets_colder_with_depth(role: helix.Role, t: float, expected: float) -> None:
    assert helix.temperature(role, t) == expected


def test_a_card_s_own_range_goes_before_the_role_s() -> None:
    assert [helix.temperature("research", t, (1.0, 0.0)) for t in CHECKPOINTS] == [1.0, 0.7, 0.5, 0.3, 0.1]


def test_the_next_checkpoint() -> None:
    assert [helix.next_checkpoint(t) for t in (*CHECKPOINTS, 0.31)] == [0.3, 0.5, 0.7, 0.9, 1.0, 0.5]


def test_progress_follows_the_tokens_and_never_passes_the_next_checkpoint() -> None:
    assert [helix.progress(0.3, tokens) for tokens in (0, 150, 300, 30_000)] == [0.3, 0.4, 0.5, 0.5]


@pytest.mark.parametrize(
    ("role", "t", "base"),
    [
        ("research", 0.0, 0.30),
        ("research", 1.0, 0.60),
        ("analysis", 0.5, 0.60),
        ("critic", 0.5, 0.65),
        ("critic", 1.0, 0.80),
        ("synthesis", 0.0, 0.60),
    ],
)
def test_confidence_by_role_and_depth(role: helix.Role, t: float, base: float) -> None:
    assert helix.confidence(role, t, "") == base
    assert helix.confidence(role, t, LONG) == pytest.approx(base + 0.10)
    assert base < helix.confidence(role, t, "Some words.") < base + 0.10


def test_no_confidence_is_above_one() -> None:
    assert helix.confidence("synthesis", 1.0, LONG) == 1.0


def test_the_synthesis_is_as_confident_as_what_it_was_made_from() -> None:
    assert helix.synthesis_confidence([0.6, 0.8], 0, "") == pytest.approx(0.7)
    assert helix.synthesis_confidence([0.6, 0.8], 2, "") == pytest.approx(0.35)
    assert helix.synthesis_confidence([0.94], 0, LONG) == 0.95
    assert helix.synthesis_confidence([], 3, LONG) == 0.0
