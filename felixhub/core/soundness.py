"""What makes a workflow sound, and the sentences that say what is wrong with one.

Owns: the rules. Must not: know a file or its lines (`settings` finds them).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping

from felixhub.core.expansion import expand
from felixhub.core.names import HUB, NAME_PATTERN
from felixhub.core.names import SHORT_CHARACTERS_MAX as TITLE_CHARACTERS_MAX
from felixhub.core.workflow import PROMPT_CHARACTERS_MAX, STAGES_MAX, SYNTHESIS, Card, Stage, Workflow

FAULTS_MAX = 20
NAMES_SHOWN_MAX = 50
EXPANDED_BYTES_MAX = 8 * 1024 * 1024  # of a workflow with everything written out: a viewer must be able to take it
NAME_CHARACTERS_MAX = 64
STAGE_BYTES = 600  # what a stage takes beside its texts and names, roughly


def faults(workflow: Workflow, cards: Mapping[str, Card]) -> list[tuple[str, str]]:
    """What is wrong with a workflow, at most 20 things: (stage, list or agent at fault, sentence). Empty when sound."""
    found = [*_of_names(workflow), *_of_agents(workflow, cards), *_of_lists(workflow), *_of_size(workflow, cards)]
    stages = {stage.name: stage for stage in workflow.stages}
    earlier = _Earlier(stages)
    for stage in workflow.stages:
        found.extend((stage.name, sentence) for sentence in _of_stage(stage, stages, earlier))
    if not found:
        found = _of_expansion(workflow, cards)
    return list(dict.fromkeys(found))[:FAULTS_MAX]


def _of_names(workflow: Workflow) -> list[tuple[str, str]]:
    counted = Counter(stage.name for stage in workflow.stages)
    found = [
        (name, f"two stages are called '{name}': give each a name of its own")
        for name in sorted(name for name, count in counted.items() if count > 1)
    ]
    if SYNTHESIS in counted:
        found.append((SYNTHESIS, "the stage name 'synthesis' is reserved: use a [synthesis] table instead"))
    return found


def _of_agents(workflow: Workflow, cards: Mapping[str, Card]) -> list[tuple[str, str]]:
    found = []
    for agent in workflow.agents():
        if agent == HUB:
            found.append((agent, "'hub' is reserved: give the agent another name"))
        elif agent not in cards:
            known = ", ".join(sorted(cards)[:NAMES_SHOWN_MAX]) or "none"
            found.append((agent, f"there is no agent called '{agent}' (known: {known}): add agents/{agent}.md"))
    return found


def _of_lists(workflow: Workflow) -> list[tuple[str, str]]:
    found = []
    for name, items in workflow.lists.items():
        if not items:
            found.append((name, f"the list '{name}' is empty: add [[lists.{name}]] tables"))
        twice = sorted(entry for entry, count in Counter(item.name for item in items).items() if count > 1)
        found.extend((name, f"the list '{name}' has two entries called '{entry}'") for entry in twice)
    return found


def _of_stage(stage: Stage, stages: Mapping[str, Stage], earlier: _Earlier) -> list[str]:
    found = [f"stage '{stage.name}' comes after '{o}', which does not exist" for o in stage.after if o not in stages]
    if list(stage.checkpoints) != sorted(set(stage.checkpoints)):
        found.append(f"the checkpoints of stage '{stage.name}' must rise from wide to narrow")
    if stage.reviews and stage.revises:
        found.append(f"stage '{stage.name}' reviews and revises: make two stages of it")
    for verb, name in (("reviews", stage.reviews), ("revises", stage.revises)):
        found.extend(_of_target(stage, verb, name, stages, earlier) if name else ())
    if (stage.reviews or stage.revises) and stage.section:
        found.append(f"stage '{stage.name}' writes no section of its own: the section belongs to what it works on")
    if (stage.reviews or stage.revises) and len(stage.checkpoints) > 1:
        found.append(f"the checkpoints of stage '{stage.name}' must be one: it reviews or revises once a round")
    if stage.gate and not stage.section:
        found.append(f"the gate of stage '{stage.name}' needs a section to approve: give it a section")
    if stage.rounds_max > 1 and not stage.reviews:
        found.append(f"rounds_max of stage '{stage.name}' is for a stage that reviews")
    return found


def _of_target(stage: Stage, verb: str, name: str, stages: Mapping[str, Stage], earlier: _Earlier) -> list[str]:
    target = stages.get(name)
    if target is None:
        return [f"stage '{stage.name}' {verb} '{name}', which does not exist"]
    if target.reviews or target.revises or name == stage.name:
        return [f"stage '{stage.name}' {verb} '{name}', which writes no text of its own"]
    if target.for_each != stage.for_each:
        return [f"stage '{stage.name}' {verb} '{name}', so both must be for_each of the same list, or of none"]
    if verb == "reviews" and not earlier.has(stage, name):
        return [f"stage '{stage.name}' reviews '{name}', so it must come after it"]
    return _of_revising(stage, name, stages, earlier) if verb == "revises" else []


def _of_revising(stage: Stage, name: str, stages: Mapping[str, Stage], earlier: _Earlier) -> list[str]:
    reviews = [other for other in stage.after if other in stages and stages[other].reviews == name]
    if not reviews:
        return [f"stage '{stage.name}' revises '{name}', so it must come after a stage that reviews '{name}'"]
    if len(reviews) > 1:
        listed = "' and '".join(reviews)
        return [f"stage '{stage.name}' revises by '{listed}': let it come after one review, and write a stage for each"]
    for other in stages.values():
        if other.revises != name or other.name <= stage.name:
            continue
        if reviews[0] in other.after:
            return [f"stages '{stage.name}' and '{other.name}' revise by the same review '{reviews[0]}': one is enough"]
        if not earlier.has(stage, other.name) and not earlier.has(other, stage.name):
            sentence = (
                f"stages '{stage.name}' and '{other.name}' revise '{name}' side by side, and one text would be lost"
            )
            return [f"{sentence}: let one's review come after the other"]
    return []


class _Earlier:
    """Of each stage those that it comes after, directly or not, as bits in the order of the stages.

    A workflow may come from anybody, with hundreds of thousands of these pairs; bits make each one cheap.
    """

    def __init__(self, stages: Mapping[str, Stage]) -> None:
        self._bits = {name: 1 << index for index, name in enumerate(stages)}
        self._earlier = dict.fromkeys(stages, 0)
        for name in _order({stage.name: stage.after for stage in stages.values()}):
            for other in stages[name].after:
                if other in self._bits:
                    self._earlier[name] |= self._bits[other] | self._earlier[other]

    def has(self, stage: Stage, name: str) -> bool:
        """Whether the stage comes after that one."""
        return bool(self._earlier[stage.name] & self._bits[name])


def _of_expansion(workflow: Workflow, cards: Mapping[str, Card]) -> list[tuple[str, str]]:
    """What only shows once lists and loops are written out, said of the stage that it comes from."""
    missing = [stage for stage in workflow.stages if stage.for_each and stage.for_each not in workflow.lists]
    if missing:
        return [
            (stage.name, f"for_each of stage '{stage.name}' is '{stage.for_each}', and there is no such list")
            for stage in missing
        ]
    plain, _, origins = expand(workflow, cards.values())
    found: list[tuple[str, str]] = []
    counted = Counter(stage.name for stage in plain.stages)
    sections = {stage.name for stage in plain.stages if stage.section}
    for name, count in counted.items():
        origin = origins[name]
        if count > 1 or name == SYNTHESIS:
            found.append((origin, f"a stage called '{name}' is there already: rename '{origin}', or the list's entry"))
        if not re.fullmatch(NAME_PATTERN, name):
            found.append((origin, f"'{name}' is too long for a name: shorten '{origin}', or the list's entry"))
    for stage in plain.stages:
        for field, most in (("section", TITLE_CHARACTERS_MAX), ("instruction", PROMPT_CHARACTERS_MAX)):
            if (length := len(getattr(stage, field))) > most:
                sentence = f"the {field} of stage '{stage.name}' comes to {length} characters, and {most} is the most"
                found.append((origins[stage.name], sentence))
        if stage.quorum is not None and stage.quorum > len(stage.after):
            sentence = f"stage '{stage.name}' wants {stage.quorum} of {len(stage.after)} stages: lower its quorum"
            found.append((origins[stage.name], sentence))
        target = stage.reviews or stage.revises
        if target is not None and target not in sections:
            verb, given = ("reviews", origins[target]) if stage.reviews else ("revises", origins[target])
            sentence = f"stage '{origins[stage.name]}' {verb} '{given}', which is no section: give '{given}' a section"
            found.append((origins[stage.name], sentence))
        if not re.fullmatch(NAME_PATTERN, stage.agent):
            found.append((origins[stage.name], f"'{stage.agent}' is too long for an agent's name: shorten it"))
        elif stage.agent != (agent := _agent_of(workflow, origins[stage.name])) and stage.agent in cards:
            sentence = f"the agent '{stage.agent}' is there already: '{agent}' is numbered for each entry of a list"
            found.append((origins[stage.name], sentence))
    if not found:
        circle = dict.fromkeys(origins[name] for name in _circle(plain))
        found.extend((name, f"stage '{name}' waits for itself: break the circle of 'after'") for name in circle)
    if not found:
        circle = dict.fromkeys(origins[name] for name in _circle(plain, gates=True))
        found.extend(
            (name, f"stage '{name}' waits for itself: a gate opens only when all who work on its text are done")
            for name in circle
        )
    return found


def _target(stage: Stage) -> str:
    return stage.reviews or stage.revises or stage.name


def _agent_of(workflow: Workflow, stage: str) -> str:
    return next(one.agent for one in workflow.stages if one.name == stage)


def _of_size(workflow: Workflow, cards: Mapping[str, Card]) -> list[tuple[str, str]]:
    """Whether it stays small enough once lists and loops are written out; found without doing that."""
    rounds = {stage.name: stage.rounds_max for stage in workflow.stages if stage.reviews}
    revised = {stage.revises: stage for stage in workflow.stages if stage.revises}
    copies: dict[str, int] = {}
    for stage in workflow.stages:
        in_rounds = 1
        if stage.revises:
            in_rounds = max((rounds.get(other, 1) for other in stage.after), default=1)
        elif stage.reviews in revised and stage.name in revised[stage.reviews].after:
            in_rounds = 1 + stage.rounds_max
        copies[stage.name] = in_rounds * max(1, len(workflow.lists.get(stage.for_each or "", ())))
    count = sum(copies.values())
    if count > STAGES_MAX:
        most = max(copies, key=lambda name: copies[name])
        return [(most, f"with its lists and rounds the stages come to {count}, and {STAGES_MAX} is the most")]
    names = {name: count * (len(name) + (4 if count == 1 else NAME_CHARACTERS_MAX)) for name, count in copies.items()}
    sizes = {
        stage.name: copies[stage.name]
        * (_item_characters(workflow, stage, cards) + STAGE_BYTES + sum(names.get(o, 0) for o in stage.after))
        for stage in workflow.stages
    }
    if (size := sum(sizes.values())) > EXPANDED_BYTES_MAX:
        most = max(sizes, key=lambda name: sizes[name])
        sentence = (
            f"with its lists and rounds the workflow comes to {size:,} bytes, and {EXPANDED_BYTES_MAX:,} is the most"
        )
        return [(most, f"{sentence}: shorten what stands in every one of them")]
    return []


def _item_characters(workflow: Workflow, stage: Stage, cards: Mapping[str, Card]) -> int:
    """What one of the stages made of it holds, the longest entry taken, and its agent's card if that is made too."""
    items = workflow.lists.get(stage.for_each or "", ())
    longest = max((len(item.instruction) + 16 * len(item.title) for item in items), default=0)
    card = cards.get(stage.agent)
    return len(stage.instruction) + longest + (len(card.prompt) if card and items else 0)


def _circle(workflow: Workflow, *, gates: bool = False) -> list[str]:
    """The stages that can never start because they wait for one another; with `gates`, in a run with review."""
    waits = {stage.name: set(stage.after) for stage in workflow.stages}
    if gates:
        gated = {stage.name for stage in workflow.stages if stage.gate}
        writers: dict[str, set[str]] = {}
        target = {stage.name: _target(stage) for stage in workflow.stages}
        for stage in workflow.stages:
            writers.setdefault(_target(stage), set()).add(stage.name)
        for stage in workflow.stages:
            for other in {target[name] for name in stage.after} & gated - {_target(stage)}:
                waits[stage.name] |= writers[other]
    return sorted(set(waits).difference(_order(waits)))


def _order(waits: Mapping[str, Collection[str]]) -> list[str]:
    """The stages, each after those it waits for; those that wait for one another are left out."""
    waiting = {name: sum(other in waits for other in set(others)) for name, others in waits.items()}
    followers: dict[str, list[str]] = {}
    for name, others in waits.items():
        for other in set(others):
            followers.setdefault(other, []).append(name)
    order = [name for name, count in waiting.items() if count == 0]
    for name in order:  # It grows while it is gone through.
        for follower in followers.get(name, ()):
            waiting[follower] -= 1
            if waiting[follower] == 0:
                order.append(follower)
    return order
