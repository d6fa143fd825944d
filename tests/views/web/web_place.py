"""A `felixhub web` as a real process, and what a test asks it by HTTP.

Owns: starting and finding it, and requests of one connection each. Must not: judge answers.
"""

from __future__ import annotations

import http.client
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

TESTS = Path(__file__).resolve().parent.parent.parent
for folder in (TESTS, TESTS / "faults"):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))

from harness import Place, Process, a_place, until  # noqa: E402
from ports import free_ports  # noqa: E402

__all__ = ["Answer", "Place", "Process", "Web", "a_place", "until"]


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """Of an error."""
        return str(self.json["error"]["code"])


class Web:
    """One gateway, which can be killed and started again at the same address."""

    def __init__(self, place: Place, *flags: str, port: int | None = None) -> None:
        self.place = place
        self.port = port if port is not None else free_ports(1)
        self._flags = flags
        self.process = self._started()

    def _started(self) -> Process:
        arguments = ["-m", "felixhub", "web", "--hub", str(self.place.data), "--no-open", "--port", str(self.port)]
        process = Process(self.place, "web", [*arguments, *self._flags])
        until(
            lambda: process.out.read_text() or process.exit is not None, 30.0, f"the gateway starts: {process.said()}"
        )
        assert process.exit is None, process.said()
        return process

    def start_again(self) -> None:
        assert self.process.exit is not None, "it has ended"
        self.process = self._started()

    @property
    def address(self) -> str:
        """As it was printed."""
        found = re.search(r"http://\S+", self.process.out.read_text())
        assert found, self.process.out.read_text()
        return found[0]

    @property
    def token(self) -> str:
        return (self.place.data / "web-token").read_text().strip()

    # ---- requests ----------------------------------------------------------------------------------------------------

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        timeout: float = 30.0,
    ) -> Answer:
        """As it is: no header is added but Host and Content-Length."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, None, {name.replace("_", "-"): value for name, value in headers.items()})

    def json(self, path: str) -> Any:
        answer = self.get(path)
        assert answer.status == 200, answer.body
        return answer.json

    def post(self, path: str, value: Any = None, **headers: str) -> Answer:
        """With the token, as JSON."""
        given = {"X-FelixHub-Token": self.token, "Content-Type": "application/json"}
        given |= {name.replace("_", "-"): text for name, text in headers.items()}
        return self.request("POST", path, json.dumps({} if value is None else value).encode(), given)

    def ready(self) -> None:
        until(lambda: self.get("/readyz").status == 200, 30.0, "the gateway hears the hub")

    def figure(self, name: str) -> float:
        """A figure of /metrics."""
        found = re.search(rf"^{name}(?:_total)? (\S+)$", self.get("/metrics").body.decode(), re.MULTILINE)
        assert found, name
        return float(found[1])
