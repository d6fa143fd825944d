"""Endpoints: addresses, keys, and which one is taken when nobody has chosen."""

from __future__ import annotations

import math
import socket
import threading
from pathlib import Path

import pytest
from pydantic import ValidationError

from felixhub.core.errors import ConfigError
from felixhub.llm.endpoint import KNOWN_ENDPOINTS, Endpoint, discover, resolve_key, shown_model
from felixhub.llm.failures import backoff, retry_after
from felixhub.llm.offline import OfflineModel

KEY = "sk-very-secret-9876"


@pytest.mark.parametrize(
    ("url", "base_url", "name"),
    [
        ("http://localhost:9999", "http://localhost:9999/v1", "localhost:9999"),
        ("http://localhost:9999/v1/", "http://localhost:9999/v1", "localhost:9999"),
        ("https://example.org/api/v1/chat/completions", "https://example.org/api/v1", "example.org"),
        ("http://localhost:1234", "http://localhost:1234/v1", "lmstudio"),
        ("https://api.openai.com/v1", "https://api.openai.com/v1", "openai"),
    ],
)
def test_an_endpoint_from_a_url(url: str, base_url: str, name: str) -> None:
    endpoint = Endpoint.from_url(url, model="tiny")
    assert (endpoint.base_url, endpoint.name, endpoint.model) == (base_url, name, "tiny")


@pytest.mark.parametrize(
    "url", ["localhost:1234", "ftp://x", f"https://user:{KEY}@host/v1", f"https://host/v1?key={KEY}"]
)
def test_a_url_that_is_none_or_holds_a_secret_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigError) as failed:
        Endpoint.from_url(url)
    assert KEY not in str(failed.value)


def test_endpoints_are_frozen_and_checked() -> None:
    with pytest.raises(ValidationError):
        Endpoint(name="x", base_url="http://x", max_concurrent=0)
    with pytest.raises(ValidationError):
        KNOWN_ENDPOINTS["ollama"].name = "y"  # type: ignore[misc]
    assert KEY not in repr(Endpoint(name="x", base_url="http://x", extra_headers={"X-Key": KEY}))
    assert shown_model("offline-extractive") == "offline model, extractive"


def test_a_key_from_the_environment() -> None:
    endpoint = Endpoint(name="x", base_url="http://x/v1", api_key_env="MY_KEY")
    key = resolve_key(endpoint, {"MY_KEY": f" {KEY}\n"})
    assert key.get_secret_value() == KEY
    assert KEY not in repr(key)
    with pytest.raises(ConfigError, match="export MY_KEY="):
        resolve_key(endpoint, {})
    with pytest.raises(ConfigError) as failed:
        resolve_key(endpoint, {"MY_KEY": f"{KEY}\nand more"})
    assert KEY not in str(failed.value)
    assert resolve_key(KNOWN_ENDPOINTS["lmstudio"], {"OPENAI_API_KEY": KEY}).get_secret_value() == ""


def test_a_key_file_must_be_private(tmp_path: Path) -> None:
    file = tmp_path / "key"
    endpoint = Endpoint(name="x", base_url="http://x/v1", api_key_env="MY_KEY", api_key_file=str(file))
    with pytest.raises(ConfigError, match="cannot be read"):
        resolve_key(endpoint, {})
    file.write_text(f"{KEY}\n")
    for mode in (0o644, 0o640, 0o604, 0o700):
        file.chmod(mode)
        with pytest.raises(ConfigError, match="chmod 600") as failed:
            resolve_key(endpoint, {})
        assert KEY not in str(failed.value)
    file.chmod(0o600)
    assert resolve_key(endpoint, {}).get_secret_value() == KEY
    file.write_text("")
    with pytest.raises(ConfigError, match="empty"):
        resolve_key(endpoint, {})


def test_discovery_takes_a_key_then_a_local_server_then_the_offline_model() -> None:
    assert discover({"OPENAI_API_KEY": KEY})[0].name == "openai"
    endpoint, sentence = discover({"OPENROUTER_API_KEY": KEY})
    assert endpoint.name == "openrouter"
    assert KEY not in sentence
    assert discover({}, has_model=lambda endpoint: endpoint.name == "ollama")[0].name == "ollama"
    endpoint, sentence = discover({}, has_model=lambda _: False)
    assert endpoint.name == "offline"
    assert "offline model, extractive" in sentence
    assert "\n" not in sentence


def test_discovery_asks_real_servers_and_does_not_wait_for_silent_ones() -> None:
    model = OfflineModel()
    model.start()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        known = {
            "lmstudio": KNOWN_ENDPOINTS["lmstudio"].at(f"http://127.0.0.1:{silent.getsockname()[1]}/v1"),
            "ollama": KNOWN_ENDPOINTS["ollama"].at(model.base_url),
            "offline": KNOWN_ENDPOINTS["offline"],
        }
        found: list[str] = []
        thread = threading.Thread(target=lambda: found.append(discover({}, known)[0].name))
        thread.start()
        thread.join(30)
        assert found == ["ollama"]
    model.stop()


def test_retry_after_in_all_its_forms() -> None:
    now = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT
    assert retry_after({"retry-after": "7"}, now=now) == 7.0
    assert retry_after({"retry-after-ms": "1500", "retry-after": "7"}, now=now) == 1.5
    assert retry_after({"retry-after": "Tue, 14 Nov 2023 22:13:30 GMT"}, now=now) == 10.0
    assert retry_after({"retry-after": "soon"}, now=now) is None
    assert retry_after({"retry-after": "9" * 400}, now=now) == math.inf
    assert retry_after({"retry-after": "Mon, 01 Jan 0001 00:00:00 -0000"}, now=now) in (None, 0.0)
    assert retry_after({}, now=now) is None
    assert [backoff(attempt, chance=0.5) for attempt in range(6)] == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0]
    assert backoff(0, chance=0.0) == 0.25
