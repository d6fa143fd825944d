"""docs/http.md and docs/openapi.json against a real gateway: the snippets run, and the tables are the routes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.routing import Mount, Route

from felixhub.views.web.app import routes
from felixhub.views.web.description import FILE, described

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "views" / "web"))

from web_place import Web, a_place, until  # noqa: E402

PAGE = (ROOT / "docs" / "http.md").read_text(encoding="utf-8")


def snippets(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    with a_place() as place:
        place.start_hub()
        place.start_team()
        made = Web(place)
        made.ready()
        yield made


def environ_of(web: Web, run: str) -> dict[str, str]:
    return {
        **os.environ,
        "WEB": f"http://127.0.0.1:{web.port}",
        "RUN": run,
        "TOKEN": web.token,
        "FELIXHUB_DATA": str(web.place.data),
    }


def test_the_openapi_file_is_what_is_served_and_what_the_code_says(web: Web) -> None:
    shipped = FILE.read_bytes()
    assert (ROOT / "docs" / "openapi.json").read_bytes() == shipped
    assert web.get("/openapi.json").body == shipped
    assert json.loads(shipped) == json.loads(json.dumps(described())), "python -m felixhub.views.web.description"


def test_every_route_is_described_and_nothing_else() -> None:
    there = {
        (re.sub(r":\w+}", "}", route.path), method.lower())
        for route in routes()
        if isinstance(route, Route)
        for method in route.methods or ()
        if method != "HEAD"
    }
    told = {(path, method) for path, methods in described()["paths"].items() for method in methods}
    assert told == there
    assert [route.path for route in routes() if isinstance(route, Mount)] == ["/static"]


def test_every_reference_leads_somewhere() -> None:
    text = json.dumps(described())
    for name in re.findall(r'"#/components/schemas/([^"]+)"', text):
        assert name in described()["components"]["schemas"], name


def test_the_page_names_every_kind_of_address() -> None:
    for path in described()["paths"]:
        last = path.rstrip("/").split("/")[-1].split("{")[0].split(".")[0]
        assert not last or f"/{last}" in PAGE, path


def test_the_python_snippet_reads_a_run_to_the_byte(web: Web) -> None:
    (code,) = snippets("python")
    run = web.place.start_run(1, pieces=30)
    found = subprocess.run(
        [sys.executable, "-c", code], env=environ_of(web, run), capture_output=True, timeout=120, check=True
    )
    texts = json.loads(found.stdout)
    assert texts
    for thought, text in texts.items():
        assert text.encode() == (web.place.truth / f"{thought}.txt").read_bytes()


@pytest.mark.skipif(shutil.which("curl") is None, reason="the snippets need curl")
def test_the_shell_snippets_are_answered(web: Web) -> None:
    run = web.place.start_run(2, pieces=5)
    until(lambda: web.json(f"/api/runs/{run}")["status"] == "finished", 60.0, "the run finishes")
    environ = environ_of(web, run)
    ran = 0
    for block in snippets("sh"):
        if "felixhub web" in block:
            continue
        script = block.replace("curl -s", "curl -sS -w '\\n%{http_code}\\n'")
        found = subprocess.run(
            ["sh", "-ec", script], env=environ, capture_output=True, text=True, timeout=60, check=True
        )
        codes = re.findall(r"^(\d{3})$", found.stdout, re.MULTILINE)
        assert len(codes) == block.count("curl -s")
        # The run has ended, so cancelling it is refused; all else is done.
        assert all(code in ("200", "201") for code in codes[:-1] or codes), found.stdout
        ran += 1
        if "Idempotency-Key" in block:
            assert codes == ["201", "409"] and "run_ended" in found.stdout
    assert ran == 3
