"""A workflow with its lists and loops written out: plain stages that each end once, which is all the engine knows.

    for_each = "sections"                      review, refine, rounds_max = 2
    writer   →  summary, background, …         review → refine → review-2 → refine-2 → review-3

A stage made for a list is called after the entry when it is a section, else `<stage>-<entry>`; its agent is numbered,
`writer-1`, `writer-2` … Two stages over the same list are paired entry by entry. A loop ends with a review: whatever
comes out of it has been judged.
Owns: the rules of writing out. Must not: judge what comes out (`soundness.py` does).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from felixhub.core.workflow import Card, Item, Stage, Workflow


def expand(workflow: Workflow, cards: Collection[Card]) -> tuple[Workflow, tuple[Card, ...], dict[str, str]]:
    """The plain workflow, the cards it needs, and which of the given stages each of its stages comes from.

    A workflow without lists and loops comes out as it went in, but that it has a section.
    """
    known = {card.name: card for card in cards}
    stages, origins, made = _lists(workflow, known)
    stages, rounds = _loops(stages)
    origins |= {name: origins[first] for name, first in rounds.items()}
    plain = workflow.model_copy(update={"stages": _with_section(workflow, stages), "lists": {}})
    needed = dict.fromkeys(plain.agents())
    return plain, tuple(card for name in needed if (card := made.get(name) or known.get(name))), origins


# ---- lists -----------------------------------------------------------------------------------------------------------


def _lists(workflow: Workflow, cards: Mapping[str, Card]) -> tuple[list[Stage], dict[str, str], dict[str, Card]]:
    listed = {stage.name: stage.for_each for stage in workflow.stages if stage.for_each in workflow.lists}
    instances = {
        stage.name: [_instance_name(stage, item) for item in workflow.lists.get(stage.for_each or "", ())]
        for stage in workflow.stages
    }
    stages: list[Stage] = []
    origins: dict[str, str] = {}
    made: dict[str, Card] = {}
    for stage in workflow.stages:
        if stage.name not in listed:
            after = _flat(instances[other] if other in listed else [other] for other in stage.after)
            stages.append(stage.model_copy(update={"after": after}))
            origins[stage.name] = stage.name
            continue
        for number, item in enumerate(workflow.lists[stage.for_each or ""]):
            here = {other: instances[other][number] for other, of in listed.items() if of == stage.for_each}
            agent = f"{stage.agent}-{number + 1}"
            after = _flat([here[o]] if o in here else instances.get(o) or [o] for o in stage.after)
            instance = stage.model_copy(
                update={
                    "name": instances[stage.name][number],
                    "agent": agent,
                    "after": after,
                    "for_each": None,
                    "section": _titled(stage.section, item) if stage.section else "",
                    "reviews": here.get(stage.reviews or "", stage.reviews),
                    "revises": here.get(stage.revises or "", stage.revises),
                    "instruction": "\n\n".join(
                        part for part in (_titled(stage.instruction, item), _titled(item.instruction, item)) if part
                    ),
                }
            )
            stages.append(instance)
            origins[instance.name] = stage.name
            if stage.agent in cards:
                made[agent] = _card(cards[stage.agent], agent, item)
    return stages, origins, made


def _instance_name(stage: Stage, item: Item) -> str:
    return item.name if stage.section else f"{stage.name}-{item.name}"


def _titled(text: str, item: Item) -> str:
    """`{title}` and `{name}` stand for the entry's."""
    return text.replace("{title}", item.title or item.name).replace("{name}", item.name)


def _card(card: Card, name: str, item: Item) -> Card:
    """The agent's card under its number, with what the entry says otherwise."""
    update: dict[str, object] = {"name": name}
    if item.temperature is not None:
        update["temperature"] = (item.temperature, item.temperature)
    if item.endpoint is not None:
        update["endpoint"] = item.endpoint
    if item.model is not None:
        update["model"] = item.model
    return card.model_copy(update=update)


# ---- loops -----------------------------------------------------------------------------------------------------------


def _loops(stages: list[Stage]) -> tuple[list[Stage], dict[str, str]]:
    """Each review that has a stage revising by it, written out in rounds; and which stage each further round is of."""
    loops = {
        review.name: (review, revising)
        for review in stages
        for revising in stages
        if review.reviews and revising.revises == review.reviews and review.name in revising.after
    }
    if not loops:
        return stages, {}
    rounds: dict[str, str] = {}
    written: dict[str, list[Stage]] = {}
    ends: dict[str, list[str]] = {}
    for review, revising in loops.values():
        chain = [review]
        for number in range(1, review.rounds_max + 1):
            suffix = "" if number == 1 else f"-{number}"
            again = f"-{number + 1}"
            after = tuple(chain[-1].name if name == review.name else name for name in revising.after)
            chain.append(revising.model_copy(update={"name": revising.name + suffix, "after": after}))
            chain.append(
                review.model_copy(update={"name": review.name + again, "after": (*review.after, chain[-1].name)})
            )
        written[review.name] = chain
        for index, stage in enumerate(chain):
            rounds[stage.name] = (review, revising)[index % 2].name
        ends[review.name] = ends[revising.name] = [stage.name for stage in chain]
    plain: list[Stage] = []
    for stage in stages:
        chain = written.get(stage.name, [stage] if stage.name not in ends else [])
        own = {one.name for one in chain} if stage.name in written else set()
        for one in chain:
            after = _flat([other] if other in own else ends.get(other, [other]) for other in one.after)
            plain.append(one.model_copy(update={"after": after}))
    return plain, rounds


# ---- sections --------------------------------------------------------------------------------------------------------


def _with_section(workflow: Workflow, stages: list[Stage]) -> tuple[Stage, ...]:
    """A workflow that says nothing of sections and has no synthesis: its last texts are, and those that are judged."""
    if workflow.synthesis or any(stage.section for stage in stages):
        return tuple(stages)
    judged = {name for stage in stages for name in (stage.reviews, stage.revises) if name}
    needed = {name for stage in stages for name in stage.after}
    last = {
        stage.name for stage in stages if stage.name not in needed and stage.reviews is None and stage.revises is None
    }
    named = last | judged
    return tuple(stage.model_copy(update={"section": stage.name}) if stage.name in named else stage for stage in stages)


def _flat(parts: Iterable[Iterable[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for part in parts for name in part))
