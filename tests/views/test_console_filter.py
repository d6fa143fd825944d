from __future__ import annotations

import pytest

from felixhub.core.errors import ConfigError
from felixhub.views.console_filter import ConsoleFilter


def test_agents_are_names_or_patterns() -> None:
    keep = ConsoleFilter(agents=["critic-*", "hub"], exclude_agents=["critic-2"])
    assert [name for name in ("critic-1", "critic-2", "research", "hub") if keep.wants_agent(name)] == [
        "critic-1",
        "hub",
    ]


def test_lines_by_pattern_and_age() -> None:
    keep = ConsoleFilter(include=["(?i)helix", "turn"], exclude=["boring"], since=100.0)
    assert keep.wants_line(100.0, "the Helix")
    assert keep.wants_line(101.0, "a turn")
    assert not keep.wants_line(99.0, "the Helix")
    assert not keep.wants_line(100.0, "a boring Helix")
    assert not keep.wants_line(100.0, "else")


def test_a_bad_pattern_names_its_option() -> None:
    with pytest.raises(ConfigError, match=r"--include '\(' is not a regular expression"):
        ConsoleFilter(include=["("])
