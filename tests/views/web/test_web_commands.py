"""What is done through the gateway is done at the hub, once; what the hub refuses is refused in its words."""

from __future__ import annotations

import base64
from typing import Any

from sse_reader import Reader
from web_place import Place, Process, Web, until

from felixhub.core.messages import Start
from felixhub.core.workflow import Card, RunSettings, Stage, Workflow

AGENTS = ("a1", "a2", "a3")
TITLES = {"a1": "Risks", "a2": "Costs", "a3": "Benefits"}


def start_sections(web: Web, name: str, *, review: bool = True, pieces: int = 12, **plan: Any) -> str:
    """A run of three sections that waits for a person."""
    from harness import task_of

    stages = tuple(Stage(name=f"s-{a}", agent=a, context="none", section=TITLES[a], retry_s=0.1) for a in AGENTS)
    start = Start(
        id=name,
        task=task_of(seed=1, pieces=pieces, **plan),
        workflow=Workflow(name="parts", stages=stages),
        agents=tuple(Card(name=agent, program=True) for agent in AGENTS),
        settings=RunSettings(batch_interval_s=0.03, review=review),
    )
    with web.place.client() as client:
        client.request(start)
    return name


def section(web: Web, run: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in web.json(f"/api/runs/{run}")["sections"] if one["name"] == name)
    return found


def agent(web: Web, run: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in web.json(f"/api/runs/{run}")["agents"] if one["agent"] == name)
    return found


def wait_for_sections(web: Web, run: str) -> None:
    until(
        lambda: all(one["current"] for one in web.json(f"/api/runs/{run}")["sections"]),
        60.0,
        "every section is written",
    )


def test_a_document_is_read_edited_approved_and_downloaded(web: Web) -> None:
    run = start_sections(web, "doc-1")
    reader = Reader(web.port, f"/api/runs/{run}/events")
    wait_for_sections(web, run)
    at = f"/api/runs/{run}"
    first = web.json(f"{at}/sections/s-a1/versions/1")
    assert first["text"] == bytes(reader.mirror.texts[first["source"], "text"]).decode()

    # An edit is a new version, from the one that was looked at.
    edited = web.post(f"{at}/sections/s-a1/edit", {"text": "# Risks\n\nNone.", "version": 1, "by": "ada"})
    assert (edited.status, edited.json["version"]) == (200, 2)
    late = web.post(f"{at}/sections/s-a1/edit", {"text": "too late", "version": 1})
    assert (late.status, late.code) == (409, "version_changed")
    assert late.json["error"]["sentence"]
    until(lambda: section(web, run, "s-a1")["current"] == 2, 30.0, "the edit is seen")
    changes = web.json(f"{at}/sections/s-a1/diff?a=1&b=2")
    assert "".join(text for op, text in changes if op != "+") == first["text"]
    assert "".join(text for op, text in changes if op != "-") == "# Risks\n\nNone."
    assert web.json(f"{at}/sections/s-a1/diff") == changes

    # Approved by its agent's name, taken back, and approved again with all the others.
    assert web.post(f"{at}/agents/a1/approve", {"version": 2}).json["approved"] == ["s-a1"]
    until(lambda: section(web, run, "s-a1")["approved"], 30.0, "it is approved")
    assert web.post(f"{at}/agents/a1/reopen").status == 200
    assert web.post(f"{at}/agents/a1/reopen").code == "not_approved"
    everything = web.post(f"{at}/approve")
    assert everything.status == 200
    assert "approved: " in everything.json["sentence"]
    until(lambda: reader.mirror.ended, 60.0, "the approved document is finished")
    until(lambda: reader.mirror.state["status"] == "finished", 30.0, "the state says so")
    assert reader.mirror.state["approved"] == reader.mirror.state["sections_wanted"] == 3
    reader.close()

    told = web.json(f"{at}/document")
    assert told["md"] == told["html"] == told["jsonl"] == {"available": True}
    markdown = web.get(f"{at}/document.md")
    assert markdown.status == 200
    assert "None." in markdown.body.decode()
    assert markdown.headers["content-disposition"].startswith("attachment; ")
    html = web.get(f"{at}/document.html")
    assert b"<h1" in html.body and html.body.startswith(b"<!DOCTYPE html>")
    fragment = web.get(f"{at}/document.html?fragment=1").body
    assert b"<html" not in fragment and b"None." in fragment
    pdf = web.get(f"{at}/document.pdf")
    assert pdf.status == (200 if told["pdf"]["available"] else 501)
    assert pdf.body.startswith(b"%PDF-") or pdf.code == "no_typst"
    assert web.get(f"{at}/document.jsonl").body.split(b"\n")[:-1] == web.place.log_of(run)
    # After its end nothing changes any more.
    assert web.post(f"{at}/sections/s-a1/edit", {"text": "x"}).code == "run_ended"


def test_steering_and_cancelling_one_leaves_the_others_alone(web: Web) -> None:
    run = start_sections(web, "steer-1", pieces=60)
    at = f"/api/runs/{run}"
    until(lambda: agent(web, run, "a1")["state"] == "streaming", 30.0, "a1 streams")
    answer = web.post(f"{at}/agents/a1/steer", {"wrong": "too long", "instead": "be short", "constraints": "10 words"})
    assert answer.status == 200
    assert answer.json["agent"] == "a1"
    assert web.post(f"{at}/agents/a2/cancel", {"by": "ada"}).status == 200
    until(lambda: agent(web, run, "a2")["state"] == "cancelled", 30.0, "a2 is cancelled")
    assert "ada" in agent(web, run, "a2")["why"]
    until(lambda: len([bar for bar in web.json(at)["timeline"] if bar["agent"] == "a1"]) > 1, 30.0, "a1 writes again")
    # By section and by thought as well.
    until(lambda: section(web, run, "s-a3")["current"], 60.0, "a3 is done")
    assert web.post(f"{at}/sections/s-a3/regenerate").status == 200
    until(
        lambda: agent(web, run, "a3")["thought"] and agent(web, run, "a3")["state"] != "final", 30.0, "a3 begins anew"
    )
    thought = agent(web, run, "a3")["thought"]
    assert web.post(f"{at}/thoughts/{thought}/steer", {"instead": "in verse"}).status in (200, 409)
    assert web.post(f"{at}/agents/a1/steer", {"constraints": "alone"}).code == "bad_input"
    assert web.post(f"{at}/cancel").status == 200
    until(lambda: web.json(at)["status"] == "cancelled", 30.0, "the run is cancelled")
    assert web.post(f"{at}/cancel").code == "run_ended"


def test_pausing_stops_what_streams_and_resuming_goes_on(web: Web) -> None:
    run = web.place.start_run(5, pieces=60)
    at = f"/api/runs/{run}"
    until(lambda: agent(web, run, "a1")["state"] == "streaming", 30.0, "a1 streams")
    assert web.post(f"{at}/pause", {"by": "ada"}).status == 200
    until(lambda: web.json(at)["status"] == "paused", 30.0, "it is paused")
    assert web.post(f"{at}/pause").code == "already_paused"
    assert web.post(f"{at}/resume").status == 200
    until(lambda: web.json(at)["status"] == "finished", 60.0, "it goes on to its end")


def test_the_same_command_twice_is_done_once(web: Web) -> None:
    run = start_sections(web, "once-1")
    wait_for_sections(web, run)
    at = f"/api/runs/{run}/sections/s-a2/edit"
    key = "a key of any kind, with spaces: Ö".encode().decode("latin-1")
    first = web.post(at, {"text": "one"}, Idempotency_Key=key)
    assert web.post(at, {"text": "one"}, Idempotency_Key=key).json == first.json
    assert (web.post(at, {"text": "two"}, Idempotency_Key=key).code) == "id_reused"
    assert web.post(at, {"text": "one", "id": "named-id"}).json["version"] == 3
    assert web.post(at, {"text": "one", "id": "named-id"}).json["version"] == 3
    assert web.post(at, {"text": "one"}, Idempotency_Key="x" * 201).status == 400
    accepted = [event for event in web.place.events_of(run) if event.kind == "command.accepted"]
    assert len(accepted) == 2


def test_what_does_not_exist_is_said(web: Web) -> None:
    run = start_sections(web, "missing-1")
    wait_for_sections(web, run)
    at = f"/api/runs/{run}"
    for path, code in {
        "/api/runs/no-such-run/cancel": "unknown_run",
        f"{at}/agents/nobody/cancel": "unknown_agent",
        f"{at}/agents/nobody/approve": "unknown_agent",
        f"{at}/sections/nothing/approve": "unknown_section",
    }.items():
        answer = web.post(path)
        assert (answer.status, answer.code) == (404, code), path
    for path, code in {
        "/api/runs/no-such-run": "unknown_run",
        "/api/runs/no-such-run/document.md": "unknown_run",
        f"{at}/thoughts/nothing": "unknown_thought",
        f"{at}/thoughts/nothing.html": "unknown_thought",
        f"{at}/sections/nothing/diff": "unknown_section",
        f"{at}/sections/s-a1/versions/9": "unknown_version",
        f"{at}/sections/s-a1/diff?a=1&b=9": "unknown_version",
    }.items():
        answer = web.get(path)
        assert (answer.status, answer.code) == (404, code), path
    for query in ("tail=x", "tail=-1", "tail=99999999999"):
        assert web.get(f"{at}/snapshot?{query}").code == "bad_input"


def test_a_document_of_nothing_is_refused_in_words(web: Web) -> None:
    run = start_sections(web, "empty-1", pieces=400)
    at = f"/api/runs/{run}"
    answer = web.get(f"{at}/document.md")
    assert (answer.status, answer.code) == (409, "not_yet")
    assert web.json(f"{at}/document")["pdf"] == {"available": False, "why": answer.json["error"]["sentence"]}
    web.post(f"{at}/cancel")


def test_hostile_text_comes_as_text_and_as_harmless_html(web: Web) -> None:
    run = start_sections(web, "hostile-1")
    wait_for_sections(web, run)
    at = f"/api/runs/{run}"
    text = (
        "<script>alert(1)</script> <img src=x onerror=alert(1)> [x](javascript:alert(1)) ![p](https://evil.example/p.png)"
        "\n\n[y](data:text/html;base64,xx) \x1b]0;title\x07 \u202egnp.exe <iframe src=//evil.example></iframe>\n"
        + "z"
        * 90_000
    )
    assert web.post(f"{at}/sections/s-a1/edit", {"text": text}).status == 200
    until(lambda: section(web, run, "s-a1")["current"] == 2, 30.0, "the edit is seen")
    assert web.json(f"{at}/sections/s-a1/versions/2")["text"] == text
    for thought in (web.json(at)["agents"][0]["thought"],):
        found = web.json(f"{at}/thoughts/{thought}")
        assert found["length"] == len(found["text"].encode())
        assert web.get(f"{at}/thoughts/{thought}.html").status == 200
    fragment = web.get(f"{at}/document.html?fragment=1").body.decode()
    for bad in ("<script", "<img", "onerror=", 'href="javascript', 'href="data:', "<iframe", "\x1b", "\u202e"):
        assert bad not in fragment.replace("&lt;img src=x onerror=alert(1)&gt;", ""), bad
    assert "z" * 90_000 in fragment


def test_a_run_is_started_with_files_and_watched_to_its_document(place: Place) -> None:
    """The whole of `felixhub up --view web`, with the offline model: the page is served until Ctrl-C."""
    arguments = [
        "-m",
        "felixhub",
        "up",
        "What should we do about night noise?",
        "--view",
        "web",
        "--data",
        str(place.data),
    ]
    up = Process(place, "up", arguments, BROWSER="true", FELIXHUB_LLM="offline")
    until(lambda: "http://" in up.out.read_text() or up.exit is not None, 60.0, f"the address is printed: {up.said()}")
    port = int(up.out.read_text().split("http://127.0.0.1:")[1].split("/")[0])
    web = Web.__new__(Web)
    web.place, web.port, web.process = place, port, up
    assert web.get("/").status == 200
    workflows = {one["name"]: one for one in web.json("/api/workflows")}
    assert workflows["helix"]["agents"]
    until(lambda: web.json("/api/runs"), 60.0, "the run is there")
    run = web.json("/api/runs")[0]["run"]
    until(lambda: web.json(f"/api/runs/{run}")["status"] == "finished", 120.0, "the run finishes")
    files = [
        {"name": "noise.md", "text": "# Noise\n\nBuses idle at night in depot four.\n"},
        {"name": "page.html", "base64": base64.b64encode(b"<p>Depot four has twelve chargers.</p>").decode()},
    ]
    started = web.post(
        "/api/runs", {"task": "Which depot?", "files": files, "after": "latest", "id": "mine", "by": "ada"}
    )
    assert (started.status, started.json["run"], started.headers["location"]) == (201, "mine", "/api/runs/mine")
    reader = Reader(port, "/api/runs/mine/events")
    until(lambda: reader.mirror.ended, 120.0, "it finishes too")
    first = reader.mirror.marks[0]
    assert [one["name"] for one in first["documents"]][:2] == ["noise.md", "page.html"]
    assert (first["by"], first["after"]) == ("ada", run)
    assert any("run mine started by ada" in line["text"] for line in reader.mirror.lines)
    reader.close()
    bad = web.post("/api/runs", {"task": "x", "files": [{"name": "x.pdf", "text": "no PDF"}]})
    assert bad.status == 400
    assert bad.json["error"]["sentence"].startswith("x.pdf: ")
    up.signal(2)
    assert up.wait(60.0) == 0, up.said()
