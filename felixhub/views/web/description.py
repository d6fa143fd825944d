"""The interface as OpenAPI, made from the shapes that the gateway checks with.

    python -m felixhub.views.web.description docs/openapi.json

Owns: what is said of each address. Must not: be needed while the gateway runs; it serves the file.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

from felixhub.core.overview import Overview
from felixhub.version import __version__
from felixhub.views.web import bodies

FILE = Path(__file__).parent / "openapi.json"
SHAPES = (
    Overview,
    bodies.Approval,
    bodies.Editing,
    bodies.Feedback,
    bodies.Nothing,
    bodies.Starting,
)
STREAM = (
    "text/event-stream. `snapshot` (id `<boot>-<seq>`): start over with it. Unnamed messages (with an id): an array of "
    "events as on the wire, in order; the partials of one thought may be merged. Without an id: `state` (Overview), "
    "`lines` ([{seq, at, agent, sign, text}]), `hub` ({state: here|away, sentence}), `runs`, `reset` ({why, "
    "another_log}: a snapshot follows), `gone` ({why}; the stream ends, and 204 says not to come back). Send "
    "Last-Event-ID to go on."
)
ERRORS = {  # of every request
    "400": "Bad input: `field` says where.",
    "401": "No token, or a wrong one.",
    "403": "A foreign Host or Origin, or a key that may not.",
    "404": "There is no such run, agent, section, thought or version.",
    "409": "The hub refused: its code and its words.",
    "500": "A fault of ours: the gateway's log says more.",
    "503": "The hub is away, or too much is asked at once: Retry-After says when to ask again.",
}
WRITING_ERRORS = {  # of those with a body
    "408": "The body came too slowly.",
    "413": "The body is too large.",
    "415": "The body is not application/json.",
}


def _text(description: str) -> dict[str, Any]:
    return {"description": description}


def _json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


FURTHER = {  # of some requests
    "/api/runs/{run}/events": {"204": _text("The run is gone: do not come back.")},
    "/api/runs/{run}/document.{format}": {"501": _json("PDF needs typst: pip install felixhub[pdf].", _ref("Error"))},
}
ANY: dict[str, Any] = {"type": "object"}
LIST: dict[str, Any] = {"type": "array", "items": {"type": "object"}}

# path -> summary, answer, query parameters
READING: dict[str, tuple[str, dict[str, Any], dict[str, str]]] = {
    "/": ("The page.", _text("HTML"), {"token": "With --token-file: becomes a cookie."}),
    "/healthz": ("Whether this process is well.", _text("ok"), {}),
    "/readyz": ("Whether the hub is heard.", _json("It is.", ANY), {}),
    "/metrics": ("Figures for Prometheus.", _text("text/plain"), {}),
    "/openapi.json": ("This.", _json("This.", ANY), {}),
    "/api/events": ("The stream without a run: `hub` and `runs` alone.", _text(STREAM), {}),
    "/api/runs": ("The latest runs, newest last.", _json("run, status, task, workflow, started_at …", LIST), {}),
    "/api/workflows": ("The workflows by name.", _json("name, about, agents, sections, options; or fault", LIST), {}),
    "/api/runs/{run}": ("The run as a screen shows it.", _json("The run.", _ref("Overview")), {}),
    "/api/runs/{run}/events": (
        "The stream of a run.",
        _text(STREAM),
        {
            "tail": "Of each text in a snapshot so many last characters.",
            "curve": "0 leaves the long curve out of states.",
            "last_event_id": "As the header Last-Event-ID.",
        },
    ),
    "/api/runs/{run}/snapshot": (
        "Everything a viewer needs as of one seq.",
        _json("run, boot, seq, marks, texts", ANY),
        {"tail": "Of each text so many last characters; `offset` says where they begin, in UTF-8 bytes."},
    ),
    "/api/runs/{run}/document": (
        "For each format whether it can be had now, and why not.",
        _json("md, html, pdf, jsonl: {available, why}", ANY),
        {},
    ),
    "/api/runs/{run}/document.{format}": (
        "The document as md, html or pdf, or all events as jsonl.",
        _text("The file."),
        {"appendix": "1: also agents, models, tokens and versions.", "fragment": "1: HTML to be put into a page."},
    ),
    "/api/runs/{run}/thoughts/{thought}": ("A thought with its whole text.", _json("The thought.", ANY), {}),
    "/api/runs/{run}/thoughts/{thought}.html": ("Its text as harmless HTML.", _text("A piece of HTML."), {}),
    "/api/runs/{run}/sections/{section}/versions/{number}": ("One version of a section.", _json("It.", ANY), {}),
    "/api/runs/{run}/sections/{section}/diff": (
        "What has changed between two versions, in words.",
        _json("[op, words]: = in both, - gone, + new", {"type": "array", "items": {"type": "array"}}),
        {"a": "The older version; by default the one before `b`.", "b": "The newer one; by default the latest."},
    ),
}
_TARGETS = ("agents/{agent}", "sections/{section}", "thoughts/{thought}")
_VERBS = {
    "cancel": ("Cancel it; what was written is kept.", "Nothing"),
    "steer": ("Have its text revised: what is wrong, or what instead.", "Feedback"),
    "regenerate": ("Have its text written anew; with feedback, revised.", "Feedback"),
    "approve": ("Approve the section, with `version` only if that is still its latest.", "Approval"),
    "reopen": ("Withdraw the approval of the section.", "Nothing"),
    "edit": ("Make this text the section's next version.", "Editing"),
}
# path -> summary, body
WRITING: dict[str, tuple[str, str]] = {
    "/api/runs": ("Start a run. Answers 201 {run}.", "Starting"),
    "/api/runs/{run}/cancel": ("Cancel the run; what was written is kept.", "Nothing"),
    "/api/runs/{run}/pause": ("Stop what streams until `resume`.", "Nothing"),
    "/api/runs/{run}/resume": ("Go on.", "Nothing"),
    "/api/runs/{run}/approve": ("Approve every section that can be.", "Nothing"),
    **{
        f"/api/runs/{{run}}/{target}/{verb}": _VERBS[verb]
        for target in _TARGETS
        for verb in _VERBS
        if not (target == _TARGETS[2] and verb in ("approve", "reopen", "edit"))
    },
}


def described() -> dict[str, Any]:
    """The whole description."""
    _, shapes = models_json_schema(
        [(shape, "serialization") for shape in SHAPES], ref_template="#/components/schemas/{model}"
    )
    paths: dict[str, dict[str, Any]] = {}
    for path, (summary, answer, query) in READING.items():
        paths.setdefault(path, {})["get"] = {
            "summary": summary,
            "parameters": [*_in_path(path), *(_in_query(name, about) for name, about in query.items())],
            "responses": {"200": answer, **FURTHER.get(path, {}), **_errors(ERRORS)},
        }
    for path, (summary, body) in WRITING.items():
        paths.setdefault(path, {})["post"] = {
            "summary": summary,
            "parameters": [*_in_path(path), _header("Idempotency-Key", "The command is done once under it.")],
            "security": [{"token": []}, {"bearer": []}],
            "requestBody": {"content": {"application/json": {"schema": _ref(body)}}},
            "responses": {
                "201" if path == "/api/runs" else "200": _json("What was done; `sentence` says it in words.", ANY),
                **_errors(ERRORS | WRITING_ERRORS),
            },
        }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "FelixHub",
            "version": __version__,
            "description": "The interface of `felixhub web`. docs/http.md tells it as a story.",
            "license": {"name": "MIT"},
        },
        "servers": [{"url": "http://127.0.0.1:7780"}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": "X-FelixHub-Token"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
            "schemas": {**shapes["$defs"], "Error": _error()},
        },
    }


def _in_path(path: str) -> list[dict[str, Any]]:
    names = [part.split("}")[0] for part in path.split("{")[1:]]
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _in_query(name: str, about: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": about, "schema": {"type": "string"}}


def _header(name: str, about: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": about, "schema": {"type": "string"}}


def _errors(about: dict[str, str]) -> dict[str, Any]:
    return {status: _json(sentence, _ref("Error")) for status, sentence in sorted(about.items())}


def _error() -> dict[str, Any]:
    text = {"type": "string"}
    inner = {
        "type": "object",
        "required": ["code", "sentence"],
        "properties": dict.fromkeys(("code", "sentence", "field"), text),
    }
    return {"type": "object", "required": ["error"], "properties": {"error": inner}}


if __name__ == "__main__":
    text = json.dumps(described(), indent=1, ensure_ascii=False) + "\n"
    for file in (FILE, *map(Path, sys.argv[1:])):
        file.write_text(text, encoding="utf-8")
