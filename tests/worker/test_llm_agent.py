"""The LLM agent against a real local server, in a real session."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from small_hub import SmallHub, until

from felixhub.core.errors import ConfigError
from felixhub.core.events import TOKENS_MAX, Usage
from felixhub.llm.endpoint import Endpoint
from felixhub.settings.settings import load_settings
from felixhub.worker.llm_agent import KEY_VARIABLE, LlmAgents, nowhere

Work = Callable[..., Any]
FINISH = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
USAGE = {"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 3}}


def delta(**said: str) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": said, "finish_reason": None}]}


class Model:
    """A server that answers each request with the next script: chunks; a number is a status; None: stay silent."""

    def __init__(self) -> None:
        self.scripts: list[list[Any]] = []
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.listed: Any = {"data": [{"id": "small", "context_tokens": 4000}]}  # a number is a status
        self.hung_up = threading.Event()
        self.release = threading.Event()
        model = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_args: Any) -> None:
                pass

            def do_GET(self) -> None:
                if isinstance(model.listed, int):
                    self._send(model.listed, {"error": {"message": "not now"}})
                else:
                    self._send(200, model.listed)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                model.asked.append(body)
                model.keys.append(self.headers["Authorization"])
                script = model.scripts.pop(0)
                if isinstance(script[0], int):
                    self._send(script[0], {"error": {"message": "slow down"}}, {"Retry-After": "0.2"})
                    return
                if not body["stream"]:
                    self._send(200, script[0])
                    return
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.end_headers()
                for chunk in script:
                    if chunk is None:
                        self._wait_for_hang_up()
                        return
                    self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
                self.wfile.write(b"data: [DONE]\n\n")

            def _wait_for_hang_up(self) -> None:
                self.connection.settimeout(0.05)
                while not model.release.is_set():
                    try:
                        if not self.connection.recv(1):
                            model.hung_up.set()
                            return
                    except TimeoutError:
                        continue
                    except OSError:
                        model.hung_up.set()
                        return

            def _send(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def model() -> Iterator[Model]:
    one = Model()
    yield one
    one.close()


@pytest.fixture
def think(work: Work, model: Model) -> Callable[..., Any]:
    """A worker whose agent asks that server."""

    def start(
        environ: dict[str, str] | None = None, *, key_allowed: Callable[[str], bool] = nowhere, **fields: Any
    ) -> Any:
        def resolve(name: str) -> Endpoint:
            if name == "local":
                return Endpoint(name="local", base_url=model.url, **fields)
            if "://" in name:
                return Endpoint.from_url(name)
            raise ConfigError(f"there is no endpoint called '{name}'")

        agents = LlmAgents(resolve, key_allowed=key_allowed, environ=environ or {})
        return work(agents.think, close_models=agents.aclose)

    return start


def test_an_answer_streams_into_the_hub(hub: SmallHub, model: Model, think: Any) -> None:
    think()
    model.scripts.append(
        [delta(reasoning_content="hm"), delta(content="It is "), delta(content="noon."), FINISH, USAGE]
    )
    hub.begin(program=False, tokens_max=300)
    final = hub.wait_for("thought.finalized")
    assert (hub.text(final.thought), hub.text(final.thought, "reasoning")) == ("It is noon.", "hm")
    assert (final.usage.prompt_tokens, final.usage.completion_tokens, final.usage.estimated) == (11, 3, False)
    asked = model.asked[0]
    assert (asked["model"], asked["temperature"], asked["max_tokens"]) == ("small", 0.9, 300)
    assert asked["stream"] is True
    assert asked["messages"][1]["content"].startswith("# Task\n\nWhat time is it?")


def test_a_server_that_does_not_count_gets_an_estimate(hub: SmallHub, model: Model, think: Any) -> None:
    think()
    model.scripts.append([delta(content="noon"), FINISH])
    hub.begin(program=False)
    usage = hub.wait_for("thought.finalized").usage
    assert usage.estimated and usage.completion_tokens == 2 and usage.prompt_tokens > 20


def test_streaming_can_be_switched_off(hub: SmallHub, model: Model, think: Any) -> None:
    think()
    whole = {"choices": [{"index": 0, "message": {"content": "noon"}, "finish_reason": "stop"}]}
    model.scripts.append([whole])
    hub.begin(program=False, streaming=False)
    final = hub.wait_for("thought.finalized")
    assert model.asked[0]["stream"] is False
    assert hub.text(final.thought) == "noon" and len(hub.events("thought.partial")) == 1


def test_a_cancel_closes_the_connection_while_the_model_is_silent(hub: SmallHub, model: Model, think: Any) -> None:
    think()
    model.scripts.append([delta(content="so far"), None])
    hub.begin(program=False)
    hub.wait_for("thought.partial")
    hub.cancel()
    abandoned = hub.wait_for("thought.abandoned")
    assert model.hung_up.wait(20.0)
    assert (abandoned.reason, hub.text(abandoned.thought)) == ("cancelled", "so far")


def test_a_rate_limit_reaches_the_hub_and_the_answer_comes_later(hub: SmallHub, model: Model, think: Any) -> None:
    think()
    model.scripts += [[429], [delta(content="noon"), FINISH]]
    hub.begin(program=False)
    until(lambda: any(beat.throttled.get("local", 0) > 0 for beat in hub.sent("beat")), what="throttled")
    assert hub.text(hub.wait_for("thought.finalized").thought) == "noon"


def test_a_prompt_beyond_the_window_is_not_sent(hub: SmallHub, model: Model, think: Any) -> None:
    think(context_tokens=60)
    hub.begin(program=False)
    abandoned = hub.wait_for("thought.abandoned")
    assert abandoned.reason == "context_exceeded" and "takes 60" in abandoned.error and abandoned.retry_s is None
    assert model.asked == []


def test_an_endpoint_that_nobody_knows_is_lasting(hub: SmallHub, think: Any) -> None:
    think()
    hub.begin(program=False, endpoint="nowhere", retries_max=2)
    abandoned = hub.wait_for("thought.abandoned")
    assert (abandoned.reason, abandoned.error) == ("llm_error", "there is no endpoint called 'nowhere'")
    assert abandoned.retry_s is None


@pytest.mark.parametrize("is_the_operators", [True, False])
def test_a_url_gets_the_key_from_the_environment_only_if_the_operator_gave_it(
    hub: SmallHub, model: Model, think: Any, tmp_path: Path, is_the_operators: bool
) -> None:
    llm = model.url if is_the_operators else "http://127.0.0.1:9/v1"
    settings = load_settings({"llm": llm}, {}, tmp_path, user_dir=tmp_path)
    think(environ={KEY_VARIABLE: "abc123"}, key_allowed=settings.key_allowed)
    model.scripts.append([delta(content="noon"), FINISH])
    hub.begin(program=False, endpoint=model.url)
    hub.wait_for("thought.finalized")
    assert model.keys == ["Bearer abc123" if is_the_operators else "Bearer none"]


@pytest.mark.parametrize("count", [2**53 + 1, 2**200, -5])
def test_a_count_that_cannot_be_does_not_cost_the_answer(hub: SmallHub, model: Model, think: Any, count: int) -> None:
    think()
    details = {"reasoning_tokens": count}
    usage = {"prompt_tokens": count, "completion_tokens": count, "completion_tokens_details": details}
    model.scripts.append([delta(content="noon"), FINISH, {"choices": [], "usage": usage}])
    hub.begin(program=False)
    final = hub.wait_for("thought.finalized")
    said = TOKENS_MAX if count > 0 else 0
    assert hub.text(final.thought) == "noon"
    assert final.usage == Usage(prompt_tokens=said, completion_tokens=said, reasoning_tokens=said)


def test_a_context_that_is_not_known_now_refuses_nothing(hub: SmallHub, model: Model, think: Any) -> None:
    think()
    model.listed = 500
    model.scripts += [[delta(content="noon"), FINISH], [delta(content="one"), FINISH]]
    hub.begin(program=False, task="What time is it? " * 2_000, model="small")
    assert hub.text(hub.wait_for("thought.finalized").thought) == "noon"
    model.listed = {"data": [{"id": "small", "context_tokens": 4000}]}
    hub.begin(program=False, run="r2", task="What time is it? " * 2_000, model="small")
    abandoned = hub.wait_for("thought.abandoned")
    assert abandoned.reason == "context_exceeded" and "takes 4000" in abandoned.error
