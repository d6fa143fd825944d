"""docs/guides against the code: no key, field, method or known server is left out, and defaults are as they say."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

import felixhub
from felixhub.client.result import RunResult
from felixhub.core.errors import FelixError
from felixhub.core.workflow import ITEMS_MAX, ROUNDS_MAX, STAGES_MAX, Card, Item, Stage, Synthesis
from felixhub.llm.endpoint import CONTEXT_TOKENS_UNKNOWN, KNOWN_ENDPOINTS, Endpoint
from felixhub.worker.sdk import Request

GUIDES = Path(__file__).resolve().parents[2] / "docs" / "guides"


def _page(name: str) -> str:
    return (GUIDES / f"{name}.md").read_text(encoding="utf-8")


def _named(page: str) -> set[str]:
    """The words between backticks, and the keys in the examples."""
    return set(re.findall(r"`(\w+)(?:[`:(]| =)", page)) | set(re.findall(r"^(\w+)(?: =|:)", page, re.MULTILINE))


@pytest.mark.parametrize(
    ("page", "keys"),
    [
        ("write-a-workflow", {*Stage.model_fields, *Synthesis.model_fields, *Item.model_fields}),
        ("write-an-agent", {*Card.model_fields} - {"program", "prompt"}),
        ("write-an-agent", {field.name for field in fields(Request)}),
        ("from-python", {field.name for field in fields(RunResult)} - {"run"}),
        ("models", {"api_key_env", "api_key_file", "max_concurrent", "first_token_s", "between_tokens_s", "streaming"}),
    ],
)
def test_no_key_is_left_out(page: str, keys: set[str]) -> None:
    missing = keys - _named(_page(page))
    assert not missing


def test_every_known_server_has_a_section() -> None:
    page = _page("models")
    for name, endpoint in KNOWN_ENDPOINTS.items():
        if name != "offline":
            assert f"--llm {name}" in page and f"[endpoints.{name}]" in page and f"`{endpoint.base_url}`" in page
            assert endpoint.api_key_env is None or endpoint.api_key_env in page
    seconds = (Endpoint.model_fields["first_token_s"].default, Endpoint.model_fields["between_tokens_s"].default)
    assert "`first_token_s` ({:.0f}) and `between_tokens_s` ({:.0f})".format(*seconds) in page
    assert f"{CONTEXT_TOKENS_UNKNOWN:,}" in page
    assert f"asks for {KNOWN_ENDPOINTS['vllm'].max_concurrent} thoughts" in page


def test_the_bounds_of_a_workflow() -> None:
    said = f"at most {STAGES_MAX:,} stages, a list {ITEMS_MAX} entries, a review\n{ROUNDS_MAX} rounds"
    assert said in _page("write-a-workflow")


def test_every_error_is_in_the_table() -> None:
    errors = [name for name in felixhub.__all__ if isinstance(getattr(felixhub, name), type)]
    errors = [name for name in errors if issubclass(getattr(felixhub, name), FelixError)]
    page = _page("from-python")
    assert len(errors) > 4
    for name in errors:
        assert f"`{name}`" in page or f"`felixhub.{name}`" in page
