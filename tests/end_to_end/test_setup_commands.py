"""`felixhub init` and `felixhub config show`: what one may edit, and what holds."""

from __future__ import annotations

import os
from typing import Any

import pytest
from shell import ROOT, TASK, Shell

from felixhub.llm.offline import OfflineModel

KEY = "sk-very-secret-0123456789"


# ---- init ----------------------------------------------------------------------------------------------------------


def test_init_copies_everything_out(shell: Shell) -> None:
    done = shell.run("init", "team")
    made = shell.project / "team"
    for kind in ("agents", "config"):
        for path in (ROOT / kind).rglob("*.*"):
            if path.suffix in (".md", ".toml"):
                assert (made / path.relative_to(ROOT)).read_bytes() == path.read_bytes()
    assert "made 14 agents, 5 workflows, config/hub.toml, config/llm.toml in team" in done.lines[0]
    assert done.lines[-1] == 'next: cd team · edit agents/critic.md · felixhub workflows check · felixhub up "TASK"'
    assert all(f"{made}/config" in line for line in shell.run("workflows", "check", cwd=made).lines)
    assert (made / "config" / "llm.toml").read_text().count("\n#") > 30, "with comments"


def test_init_never_overwrites(shell: Shell) -> None:
    mine = shell.write("agents/critic.md", "---\nname: critic\n---\nBe kind.\n")
    aside = shell.project / "elsewhere.toml"
    (shell.project / "config" / "hub.toml").symlink_to(aside)  # It leads nowhere.
    done = shell.run("init")
    assert mine.read_text().endswith("Be kind.\n") and not aside.exists()
    assert "left as they are: agents/critic.md, config/hub.toml" in done.lines
    (shell.project / "config" / "hub.toml").unlink()
    done = shell.run("init")
    assert "made config/hub.toml in ." in done.lines and "left as it is: agents/critic.md" in done.lines
    again = shell.run("init")
    assert not any(line.startswith("made") for line in again.lines)


def test_what_init_made_is_what_runs(shell: Shell, model: OfflineModel) -> None:
    shell.run("init")
    card = shell.project / "agents" / "research.md"
    card.write_text(card.read_text() + "\nEND WITH THE WORD AMEN.\n")
    hub = shell.project / "config" / "hub.toml"
    hub.write_text(hub.read_text().replace("# batch_interval_s = 0.1", "batch_interval_s = 0.5"))
    shell.run("up", TASK, "--workflow", "solo", "--llm", model.base_url, "--view", "none")
    assert "END WITH THE WORD AMEN." in model.requests[-1].body["messages"][0]["content"]


def test_init_where_it_cannot(shell: Shell) -> None:
    file = shell.write("file.txt", "")
    assert f"{file.name}: this is a file: name a folder" in shell.run("init", "file.txt", code=2).complaint
    shell.write("in-the-way/agents", "")
    said = shell.run("init", "in-the-way", code=2).complaint
    assert "in-the-way/agents: a file is in the way of a folder: move it" in said


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_init_where_it_may_not(shell: Shell) -> None:
    (shell.project / "closed").mkdir(mode=0o500)
    assert "cannot write this file" in shell.run("init", "closed", code=2).complaint


# ---- config show ---------------------------------------------------------------------------------------------------


def settings(shell: Shell, *more: object, **environ: str) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in shell.run("config", "show", "--json", *more, **environ).json["settings"]}


def test_the_strongest_source_wins_and_is_named(shell: Shell) -> None:
    """flags > FELIXHUB_* > the project's config/ > the user's folder > defaults"""
    user = shell.folder / "home" / ".config" / "felixhub"
    user.mkdir(parents=True)
    (user / "hub.toml").write_text("workers_max = 3\nagents_per_worker = 2\n")
    (user / "llm.toml").write_text('default = "vllm"\nmodel = "theirs"\n')
    assert settings(shell)["llm"] == {"name": "llm", "value": "vllm", "source": f"{user / 'llm.toml'}:1"}
    llm = shell.write("config/llm.toml", '# ours\ndefault = "ollama"\n')
    hub = shell.write("config/hub.toml", "workers_max = 5\n[limits]\nbeat_s = 0.25\n")
    found = settings(shell)
    assert (found["llm"]["value"], found["llm"]["source"]) == ("ollama", f"{llm}:2")
    assert (found["model"]["value"], found["model"]["source"]) == ("theirs", f"{user / 'llm.toml'}:2")
    assert (found["workers_max"]["value"], found["workers_max"]["source"]) == (5, f"{hub}:1")
    assert (found["agents_per_worker"]["value"], found["agents_per_worker"]["source"]) == (2, f"{user / 'hub.toml'}:2")
    assert (found["limits.beat_s"]["value"], found["limits.beat_s"]["source"]) == (0.25, f"{hub}:3")
    assert (found["streaming"]["value"], found["streaming"]["source"]) == (True, "default")
    found = settings(shell, FELIXHUB_LLM="openai", FELIXHUB_WORKERS_MAX="7")
    assert (found["llm"]["value"], found["llm"]["source"]) == ("openai", "FELIXHUB_LLM")
    assert (found["workers_max"]["value"], found["workers_max"]["source"]) == (7, "FELIXHUB_WORKERS_MAX")
    found = settings(shell, "--llm", "lmstudio", "--data", "here", FELIXHUB_LLM="openai")
    assert (found["llm"]["value"], found["llm"]["source"]) == ("lmstudio", "--llm")
    assert (found["data_dir"]["value"], found["data_dir"]["source"]) == (str(shell.project / "here"), "--data")


def test_the_table_says_the_same(shell: Shell) -> None:
    shell.write("config/hub.toml", "workers_max = 5\n")
    done = shell.run("config", "show")
    assert done.lines[0].split() == ["SETTING", "VALUE", "FROM"]
    (row,) = [line.split() for line in done.lines if line.startswith("workers_max")]
    assert row == ["workers_max", "5", f"{shell.project / 'config' / 'hub.toml'}:1"]
    (row,) = [line.split() for line in done.lines if line.startswith("limits.retention_s")]
    assert row == ["limits.retention_s", "2,592,000", "default"]
    assert f"read  {shell.project / 'config' / 'hub.toml'}" in done.lines


def test_variables_that_mean_nothing_are_named(shell: Shell) -> None:
    done = shell.run("config", "show", FELIXHUB_ENDPOINT="ollama", FELIXHUB_LLM_KEY=KEY, FELIXHUB_LLM="ollama")
    assert [line for line in done.lines if "means nothing" in line] == ["means nothing: FELIXHUB_ENDPOINT"]


def test_keys_are_masked(shell: Shell) -> None:
    shell.write(
        "config/llm.toml",
        '[endpoints.mine]\nbase_url = "http://localhost:1/v1"\napi_key_env = "MINE"\n'
        f'extra_headers = {{ X-Team-Pass = "{KEY}" }}\n',
    )
    done = shell.run("config", "show", "--json", MINE=KEY, FELIXHUB_LLM_KEY=KEY, OPENAI_API_KEY=KEY)
    assert KEY not in done.text
    keys = {one["name"]: one["key"] for one in done.json["endpoints"]}
    assert keys["mine"] == "*** from MINE" and keys["openai"] == "*** from OPENAI_API_KEY"
    assert keys["openrouter"] == "not set, from OPENROUTER_API_KEY" and keys["ollama"] == "none"
    (mine,) = [one for one in done.json["endpoints"] if one["name"] == "mine"]
    assert mine["extra_headers"] == {"X-Team-Pass": "***"}
    (key,) = [one for one in done.json["settings"] if one["name"] == "llm_key"]
    assert key == {"name": "llm_key", "value": "***", "source": "FELIXHUB_LLM_KEY"}
    plain = shell.run("config", "show", MINE=KEY, FELIXHUB_LLM_KEY=KEY)
    assert KEY not in plain.text and "*** from MINE" in plain.text


def test_a_key_file_that_others_may_read_is_not_used(shell: Shell) -> None:
    file = shell.write("key.txt", KEY)
    file.chmod(0o644)
    table = f'[endpoints.mine]\nbase_url = "http://localhost:1/v1"\napi_key_file = "{file}"\n'
    shell.write("config/llm.toml", table)
    keys = {one["name"]: one["key"] for one in shell.run("config", "show", "--json").json["endpoints"]}
    assert keys["mine"].startswith("not ") and str(file) in keys["mine"]
    file.chmod(0o600)
    keys = {one["name"]: one["key"] for one in shell.run("config", "show", "--json").json["endpoints"]}
    assert keys["mine"] == f"*** from {file}"


@pytest.mark.parametrize(
    ("file", "text", "line", "words"),
    [
        ("hub.toml", "\nworkers_maxx = 1\n", 2, "there is no key 'workers_maxx' here: did you mean 'workers_max'?"),
        ("hub.toml", "[limits]\nbeat = 1\n", 2, "there is no key 'beat' here: did you mean 'beat_s'?"),
        ("hub.toml", "[limits]\n\nbeat_s = 0\n", 3, "'beat_s' must be a number above 0, not 0"),
        ("hub.toml", "[limit]\nbeat_s = 1\n", 1, "there is no key 'limit' here: did you mean 'limits'?"),
        ("hub.toml", "beat_s = 1\n", 1, "'beat_s' does not belong here: move it into the table 'limits'"),
        ("hub.toml", "plain = True\n", 1, "write true and false small"),
        ("llm.toml", 'defualt = "ollama"\n', 1, "there is no key 'defualt' here: did you mean 'default'?"),
        ("llm.toml", 'default = "olama"\n', 1, "did you mean 'ollama'?"),
        ("llm.toml", "[endpoints.olama]\nmax_concurrent = 1\n", 1, "did you mean 'ollama'?"),
        ("llm.toml", '[endpoints.ollama]\napi_key = "x"\n', 2, "a key has no place in a file"),
    ],
)
def test_every_mistake_is_named_with_its_line(shell: Shell, file: str, text: str, line: int, words: str) -> None:
    path = shell.write(f"config/{file}", text)
    said = shell.run("config", "show", code=2).err
    assert said.startswith(f"felixhub: {path}:{line}: ") and words in said


def test_a_variable_and_a_flag_that_are_wrong(shell: Shell) -> None:
    said = shell.run("config", "show", code=2, FELIXHUB_WORKER_MAX="3").complaint
    assert said == "FELIXHUB_WORKER_MAX: there is no such variable: did you mean 'FELIXHUB_WORKERS_MAX'?"
    said = shell.run("config", "show", code=2, FELIXHUB_WORKERS_MAX="many").complaint
    assert said == "FELIXHUB_WORKERS_MAX: 'workers_max' must be a whole number, not 'many'"
    said = shell.run("config", "show", "--llm", "olama", code=2).complaint
    assert said.startswith("--llm: there is no endpoint called 'olama'") and "did you mean 'ollama'?" in said
