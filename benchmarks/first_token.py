"""How long a model's first token takes from the model's server to a subscriber's hands.

    python -m benchmarks.first_token [--quick] [--directory DIR]

The real worker with its real HTTP client, a streaming server on loopback, the real hub, one subscriber. Four agents
think one thought after another. The server waits, takes the time, and sends it as the first token: the subscriber
takes the time again once the event is in order.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

from benchmarks.harness import (
    STAMP_DIGITS,
    Child,
    Options,
    Read,
    Row,
    agent_names,
    main,
    percentile,
    running_hub,
    running_readers,
    start_run,
)
from felixhub.llm.endpoint import Endpoint
from felixhub.logs import configure_logs
from felixhub.transport.address import Connection
from felixhub.worker.process import leave, preload, run_agents

AGENTS = 4
STAGES_EACH = 12  # a run of 48; in one of a thousand, what each thought's end means for all stages is most of the delay
MODEL = "bench"
THINKING_S = 0.02
GOAL_P99_MS = 10.0


class Model(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._begin("application/json")
        self.wfile.write(json.dumps({"data": [{"id": MODEL}]}).encode())

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._begin("text/event-stream")
        time.sleep(THINKING_S)
        self._say({"content": f"{time.monotonic_ns():0{STAMP_DIGITS}d} is the time."})
        self._say({}, finish_reason="stop")
        self.wfile.write(b"data: [DONE]\n\n")

    def _begin(self, content_type: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.end_headers()
        self.wfile.flush()

    def _say(self, delta: dict[str, str], **more: str) -> None:
        value = {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, **more}]}
        self.wfile.write(f"data: {json.dumps(value)}\n\n".encode())
        self.wfile.flush()


def model_main(pipe: Pipe) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Model) as server:
        pipe.send(f"http://127.0.0.1:{server.server_port}/v1")
        server.serve_forever()


def worker_main(_pipe: Pipe, agents: list[str], where: Connection, url: str, directory: Path) -> None:
    configure_logs(file=directory / "worker.log")
    preload()
    leave(
        run_agents(
            agents, hub=lambda: where, resolve=lambda _: Endpoint.from_url(url, model=MODEL), agents_dirs=[directory]
        )
    )


def one_pass(options: Options) -> list[float]:
    """Milliseconds, one for each thought of a run but the first of each agent."""
    agents = agent_names(AGENTS)
    with options.directory() as directory, running_hub(directory) as hub, contextlib.ExitStack() as stack:
        url = stack.enter_context(Child(model_main)).ask()
        run = start_run(hub, agents, endpoint=url, stages_each=STAGES_EACH)
        (reader,) = stack.enter_context(running_readers(hub, run, 1))
        stack.enter_context(Child(worker_main, agents, hub.where, url, directory))
        read: Read = reader.ask()
    if len(read.hashes) != AGENTS * STAGES_EACH:
        raise RuntimeError(f"only {len(read.hashes)} thoughts are final")
    # The first of each agent opens its connection and imports what has not been imported yet.
    return [ms for _, ms in sorted(read.latencies_ms)[AGENTS:]]


def measure(options: Options) -> list[Row]:
    passes = 5 if options.quick else 20
    latencies = [ms for _ in range(passes) for ms in one_pass(options)]
    p50, p99 = statistics.median(latencies), percentile(latencies, 99)
    return [
        Row(
            f"first token, model's server to subscriber, in runs of {AGENTS * STAGES_EACH} stages, p99 of "
            f"{len(latencies)} in ms",
            f"{p99:.2f} (p50 {p50:.2f})",
            f"≤ {GOAL_P99_MS:.0f}",
            p99 <= GOAL_P99_MS,
        )
    ]


if __name__ == "__main__":
    main(measure, __doc__)
