"""The offline model: honest, deterministic, quick, and a proper server."""

from __future__ import annotations

import asyncio
import http.client
import json
import math
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from felixhub.core.errors import ModelFailed
from felixhub.llm.client import Finish, ModelClient, ModelRequest, Text, Usage
from felixhub.llm.endpoint import KNOWN_ENDPOINTS, OFFLINE_MODEL
from felixhub.llm.offline import OfflineModel, count_tokens
from felixhub.llm.offline_material import sentences_of
from felixhub.llm.offline_writer import write

TASK = "Should the owner of an old house replace a gas boiler by a heat pump, and what has to be done first?"
TRIAL = """# Heat pumps in old houses

Heat pumps move heat instead of making it, so they deliver three to four units of heat for each unit of electricity.
In old houses the flow temperature decides almost everything. Above 55 °C the seasonal efficiency of an air-source
heat pump falls below 2.5, and the running costs approach those of a gas boiler. Dr. Miller measured 41 houses built
before 1940 in the winter of 2023. In 29 of them the radiators were large enough, although the owners had been told
the opposite.

- Insulating the roof costs about 9,000 euros and lowers the heat demand by 15 to 20 %.
- Replacing three undersized radiators costs about 2,500 euros.

Installers always recommend a buffer tank, but the trial found no benefit in 34 of 41 houses.
Noise is the most frequent complaint of neighbours.
"""
COSTS = """Gas boilers are cheaper to buy and dearer to keep. A new condensing boiler costs about 8,000 euros, while a
heat pump costs 18,000 to 30,000 euros before subsidies. The subsidy covers up to 70 % of the price of a heat pump, yet
many owners never apply because the form must be filed before the contract is signed. A gas boiler installed in 2026
would have to be replaced or run on another fuel by 2045. Electricity prices differ strongly between regions.
"""
DOCUMENTS = {"trial.md": TRIAL, "costs.txt": COSTS}
ROLES = ("research", "analysis", "critic", "synthesizer", "outline", "writer")


def prompt(
    role: str,
    *,
    t: float | None = None,
    documents: dict[str, str] | None = None,
    thoughts: dict[str, str] | None = None,
    earlier: str = "",
    wanted: str = "Write your thought",
) -> list[dict[str, str]]:
    parts = ["# Task", TASK]
    for heading, sources in (("# Documents", documents), ("# Thoughts of the others", thoughts)):
        if sources:
            parts.append(heading)
            parts += [f"## {name}\n\n{text}" for name, text in sources.items()]
    if earlier:
        parts += ["# Your earlier thought", earlier]
    parts += ["# What to write", wanted + (f" at t={t}" if t is not None else "") + "."]
    system = f"You are the {role} of a team. You write well."
    return [{"role": "system", "content": system}, {"role": "user", "content": "\n\n".join(parts)}]


def flat(text: str) -> str:
    return " ".join(text.split())


def quotations(text: str) -> list[str]:
    return [part.partition("”")[0] for part in text.split("“")[1:]]


# ── the writer ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("documents", [DOCUMENTS, {}])
def test_the_same_prompt_and_seed_give_the_same_text(role: str, documents: dict[str, str]) -> None:
    messages = prompt(role, t=0.3, documents=documents)
    assert write(messages, seed=1) == write(messages, seed=1)
    assert any(write(messages, seed=1) != write(messages, seed=seed) for seed in range(2, 9)) or role != "research"


@pytest.mark.parametrize("role", ["research", "analysis", "critic", "outline"])
def test_every_quotation_stands_in_the_material(role: str) -> None:
    given = flat(f"{TASK} {TRIAL} {COSTS}")
    for t in (0.0, 0.3, 0.5, 0.7, 0.9):
        text = write(prompt(role, t=t, documents=DOCUMENTS))
        found = quotations(text)
        assert len(found) >= 2
        for quotation in found:
            assert quotation in given or quotation + "." in given
        assert 60 <= len(text.split()) <= 230, text


def test_thoughts_differ_from_stage_to_stage_and_go_further() -> None:
    for documents in (DOCUMENTS, {}):
        earlier = ""
        quoted_before: set[str] = set()
        texts = []
        for t in (0.0, 0.3, 0.5, 0.7, 0.9):
            texts.append(write(prompt("research", t=t, documents=documents, earlier=earlier)))
            earlier += "\n\n" + texts[-1]
            if documents and t <= 0.3:
                fresh = set(quotations(texts[-1]))
                assert not quoted_before & fresh
                quoted_before |= fresh
        assert len(set(texts)) == 5


def test_roles_write_what_they_are_for() -> None:
    assert "**Findings" in write(prompt("research", documents=DOCUMENTS))
    analysis = write(prompt("analysis", documents=DOCUMENTS))
    assert "**Figures.**" in analysis
    assert "**heat pump**" in analysis
    assert "?" in write(prompt("critic", documents=DOCUMENTS))
    assert "Outline" in write(prompt("writer", documents=DOCUMENTS, wanted="Write an outline"))
    # A phase of the helix called synthesis makes no synthesizer of a researcher.
    assert "**Findings" in write(prompt("research", t=0.7, documents=DOCUMENTS, wanted="The phase is synthesis"))


def test_a_synthesis_is_traceable_and_structured() -> None:
    thoughts = {role: write(prompt(role, t=0.5, documents=DOCUMENTS)) for role in ("research", "analysis", "critic")}
    given = flat(" ".join([TRIAL, COSTS, *thoughts.values()]))
    for documents in (DOCUMENTS, {}):  # From the thoughts alone as well.
        text = write(prompt("synthesizer", documents=documents, thoughts=thoughts))
        assert [line for line in text.splitlines() if line.startswith("#")][1:] == [
            "## Summary",
            "## Key points",
            "## Open questions",
            "## Basis",
        ]
        assert 180 <= len(text.split()) <= 380
        assert "offline model, extractive" in text
        summary = text.partition("## Summary")[2].partition("## Key points")[0]
        points = text.partition("## Key points")[2].partition("## Open questions")[0]
        sentences = [part.strip().rpartition("] ")[2] for part in summary.split(" [")[:-1]]
        sentences += [
            line.rpartition(" [")[0].rpartition("**: ")[2].removeprefix("- ") for line in points.split("\n") if line
        ]
        assert len(sentences) >= 4
        for sentence in sentences:
            assert sentence in given, sentence


def test_with_nothing_to_read_it_says_so() -> None:
    thoughts = {role: write(prompt(role)) for role in ("research", "analysis", "critic")}
    for text in thoughts.values():
        assert "Nothing was given to read" in text
        assert 90 <= len(text.split()) <= 230
        assert "heat pump" in text
    synthesis = write(prompt("synthesizer", thoughts=thoughts))
    assert "There is no answer yet" in synthesis
    asked = [line.removeprefix("- ") for line in synthesis.splitlines() if line.endswith("?")]
    assert asked
    for question in asked:
        assert any(question in thought for thought in thoughts.values())


def test_a_review_is_json() -> None:
    wanted = 'Review it. Answer with JSON only: {"approved": true or false, "issues": ["..."]}'
    assert json.loads(write(prompt("reviewer", documents=DOCUMENTS, wanted=wanted))) == {"approved": True, "issues": []}
    poor = json.loads(write(prompt("reviewer", documents={"draft": "TODO: write this"}, wanted=wanted)))
    assert poor["approved"] is False
    assert len(poor["issues"]) == 2


def test_a_document_may_hold_our_headings() -> None:
    text = "# Task\n\nThis document has a heading of its own called task, which is no task of ours.\n\n" + TRIAL
    assert TASK[:30] in write(prompt("synthesizer", documents={"a.md": text}))


def test_sentences_are_cut_where_they_end() -> None:
    assert sentences_of(
        "Dr. Miller came, e.g. at 3.5 p.m. today. “Why?” She asked.\n\n| a | b |\n```\ncode\n```\n- One\n- Two"
    ) == [
        "Dr. Miller came, e.g. at 3.5 p.m. today.",
        "“Why?”",
        "She asked.",
        "One",
        "Two",
    ]


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), st.text(max_size=300)), max_size=4),
    st.integers(),
)
def test_it_writes_something_whatever_it_is_asked(said: list[tuple[str, str]], seed: int) -> None:
    messages = [{"role": role, "content": content} for role, content in said]
    assert write(messages, seed=seed).strip()
    assert write(messages, seed=seed) == write(messages, seed=seed)


# ── the server ───────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def serving(**choices: Any) -> Iterator[OfflineModel]:
    model = OfflineModel(**{"tokens_per_s": math.inf, "first_token_s": 0.0, **choices})
    model.start()
    try:
        yield model
    finally:
        model.stop()


def made(server: OfflineModel, **settings: Any) -> ModelClient:
    return ModelClient(KNOWN_ENDPOINTS["offline"].at(server.base_url).model_copy(update=settings))


async def told(client: ModelClient, request: ModelRequest) -> list[Any]:
    async with aclosing(client.stream(request)) as parts:
        return [part async for part in parts]


def text_of(parts: list[Any]) -> str:
    return "".join(part.text for part in parts if isinstance(part, Text))


@pytest.mark.parametrize("streaming", [True, False])
def test_it_speaks_as_a_real_model_does(streaming: bool) -> None:
    async def go(model: OfflineModel) -> None:
        client = made(model, streaming=streaming, model=None)
        assert await client.model_name() == OFFLINE_MODEL
        assert await client.context_tokens() == 32_768
        request = ModelRequest(prompt("research", documents=DOCUMENTS), seed=4)
        parts = await told(client, request)
        assert text_of(parts) == write(request.messages, seed=4)
        assert isinstance(parts[-2], Usage)
        assert parts[-2].completion_tokens == count_tokens(text_of(parts))
        assert parts[-2].prompt_tokens > 100
        assert parts[-1] == Finish("stop")
        short = await told(client, ModelRequest(request.messages, max_tokens=10))
        assert short[-1] == Finish("length", truncated_by_length=True)
        assert count_tokens(text_of(short)) == 10
        await client.aclose()

    with serving() as model:
        asyncio.run(go(model))


def test_the_temperature_of_a_request_counts() -> None:
    system = {"role": "system", "content": "You are drone-1, in the role of research."}
    messages = [system, prompt("drone", documents=DOCUMENTS)[1]]

    async def go(model: OfflineModel) -> None:
        client = made(model)
        for temperature in (0.5, 0.9):
            text = text_of(await told(client, ModelRequest(messages, temperature=temperature)))
            assert text == write(messages, temperature=temperature)
        await client.aclose()

    with serving() as model:
        asyncio.run(go(model))
    assert write(messages, temperature=0.5) != write(messages, temperature=0.9)


def test_many_at_once_and_one_after_the_other_on_the_same_connection() -> None:
    async def go(model: OfflineModel) -> None:
        client = made(model)
        requests = [ModelRequest(prompt("research", documents=DOCUMENTS), seed=seed) for seed in range(40)]
        answers = await asyncio.gather(*(told(client, request) for request in requests))
        for request, parts in zip(requests, answers, strict=True):
            assert text_of(parts) == write(request.messages, seed=request.seed)
        assert text_of(await told(client, requests[0]))
        await client.aclose()
        await until(lambda: model.open_requests == 0)

    with serving(first_token_s=3.0) as model:
        asyncio.run(go(model))
        assert model.open_requests_max == 40
        assert len([request for request in model.requests if request.path == "/v1/chat/completions"]) == 41


def test_a_prompt_over_the_context_is_refused_as_openai_does() -> None:
    async def go(model: OfflineModel) -> None:
        client = made(model)
        with pytest.raises(ModelFailed) as failed:
            await told(client, ModelRequest(prompt("research", documents=DOCUMENTS)))
        assert (failed.value.reason, failed.value.lasting) == ("context_exceeded", True)
        await client.aclose()

    with serving(context_tokens=100) as model:
        asyncio.run(go(model))


@pytest.mark.parametrize("streaming", [True, False])
def test_it_stops_when_the_client_has_gone(streaming: bool) -> None:
    async def go(model: OfflineModel) -> None:
        client = made(model, streaming=streaming)
        task = asyncio.create_task(told(client, ModelRequest(prompt("research", documents=DOCUMENTS))))
        await until(lambda: model.open_requests == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: model.open_requests == 0)
        assert model.abandoned_requests == 1
        await client.aclose()

    with serving(tokens_per_s=0.1, first_token_s=60) as model:
        asyncio.run(go(model))


async def until(true: Any) -> None:
    async with asyncio.timeout(20.0):
        while not true():  # noqa: ASYNC110 - the server lives in another thread
            await asyncio.sleep(0.01)


def test_the_bytes_on_the_wire() -> None:
    with serving() as model:
        host, port = model.base_url.removeprefix("http://").removesuffix("/v1").split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=20)
        body = {"messages": [{"role": "user", "content": [{"type": "text", "text": "Say hello"}]}], "stream": True}
        connection.request("POST", "/v1/chat/completions", json.dumps(body))
        response = connection.getresponse()
        lines = response.read().decode().split("\n")
        assert response.headers["Content-Type"].startswith("text/event-stream")
        assert {line.partition(":")[0] for line in lines} == {"data", ""}
        assert lines[-3] == "data: [DONE]"
        assert not any('"usage"' in line for line in lines)  # It was not asked for.
        for method, path, sent, status in (
            ("GET", "/v1/elsewhere", None, 404),
            ("POST", "/v1/chat/completions", "no json", 400),
            ("POST", "/v1/chat/completions", "{}", 400),
            ("GET", "/v1/models", None, 200),
        ):
            connection.request(method, path, sent)
            response = connection.getresponse()
            assert response.status == status
            answer = json.loads(response.read())
            assert ("error" in answer) == (status != 200)
        connection.close()


def test_it_stops_twice_and_says_that_a_port_is_taken() -> None:
    model = OfflineModel()
    model.start()
    with pytest.raises(OSError, match="in use"):
        OfflineModel(port=int(model.base_url.split(":")[2].split("/")[0])).start()
    model.stop()
    model.stop()
