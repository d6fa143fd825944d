"""One worker hears 429: its endpoint is left alone by all of them for as long as it asked, then asked less at once."""

from __future__ import annotations

from scripted_model import Asked, Say, scripted_model
from shell import Shell, until
from texts import of_kind

from felixhub.core.events import RunFinished

RETRY_AFTER_S = 6.0
HEARD_S = 4.0  # a beat, and a slow machine: until then others may still ask
SOLO = """
name = "many"
[[lists.places]]
name = "a"
[[lists.places]]
name = "b"
[[lists.places]]
name = "c"
[[lists.places]]
name = "d"
[[lists.places]]
name = "e"
[[lists.places]]
name = "f"
[[stages]]
name = "look"
agent = "drone"
for_each = "places"
section = "{name}"
"""


def open_at_once(asked: list[Asked]) -> int:
    """The most requests that were under way together."""
    edges = sorted([(one.at, 1) for one in asked] + [(one.ended_at or one.at, -1) for one in asked])
    most = now = 0
    for _, step in edges:
        now += step
        most = max(most, now)
    return most


def test_a_429_is_everybodys_business(shell: Shell) -> None:
    refused: list[str] = []

    def script(agent: str, _prompt: str) -> Say:
        if not refused:
            refused.append(agent)
            return Say(status=429, retry_after_s=RETRY_AFTER_S)
        return Say(f"What {agent} has to say of it.", every_s=0.06)

    shell.write("config/workflows/many.toml", SOLO)
    with scripted_model(script) as model:
        shell.write("config/llm.toml", f'[endpoints.mine]\nbase_url = "{model.base_url}"\nmax_concurrent = 3\n')
        shell.serve("--view", "none")
        run = shell.run("run", "Look.", "--workflow", "many", "--llm", "mine", "--detach").text.strip()
        until(lambda: shell.status(run) == "finished", 40.0, "the run ends")
        (finished,) = of_kind(shell.events(run), RunFinished)
        assert finished.degraded == ()
        told = model.asked[0].at
        meanwhile = [one for one in model.asked[1:] if told + HEARD_S < one.at < told + RETRY_AFTER_S - 0.05]
        assert meanwhile == [], "somebody asked though the server wanted quiet"
        later = [one for one in model.asked if one.at >= told + RETRY_AFTER_S - 0.05]
        assert len(later) >= 2
        assert open_at_once(later) == 1, "half of what it took"
        assert len([one for one in model.asked if f"You are {refused[0]}," in one.system]) == 2
