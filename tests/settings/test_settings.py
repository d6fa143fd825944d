"""Settings: which source wins, where each value came from, every mistake at its place, and no key anywhere."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from felixhub.core.errors import ConfigError
from felixhub.core.limits import DEFAULT_LIMITS, Limits
from felixhub.llm.endpoint import KNOWN_ENDPOINTS
from felixhub.settings import folders
from felixhub.settings.fields import ZERO_ALLOWED, Given, flag_of, variable_of
from felixhub.settings.settings import Settings, default_data_dir, load_settings

SECRET = "sk-proj-Zq81secret"


class Home:
    """A project and a user's folder, both empty, and the settings of a process started in the project."""

    def __init__(self, root: Path) -> None:
        self.project = root / "project"
        self.user = root / "user"
        (self.project / "config").mkdir(parents=True)
        self.user.mkdir()

    def write(self, hub: str = "", llm: str = "", *, user_hub: str = "", user_llm: str = "") -> None:
        files = {
            self.project / "config" / "hub.toml": hub,
            self.project / "config" / "llm.toml": llm,
            self.user / "hub.toml": user_hub,
            self.user / "llm.toml": user_llm,
        }
        for path, text in files.items():
            if text:
                path.write_text(text)

    def load(self, environ: dict[str, str] | None = None, **flags: Any) -> Settings:
        return load_settings(flags, environ or {}, self.project, user_dir=self.user)

    def mistakes(self, environ: dict[str, str] | None = None, **flags: Any) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            self.load(environ, **flags)
        return str(caught.value).replace(f"{self.project}/config/", "").replace(f"{self.user}/", "user/").split("\n")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_with_nothing_configured_everything_has_its_default(home: Home) -> None:
    settings = home.load()
    assert settings.batch_interval_s == 0.1
    assert settings.streaming is True
    assert (settings.agents_per_worker, settings.workers_max) == (1, 16)
    assert (settings.llm, settings.model, settings.hub, settings.listen) == (None, None, None, None)
    assert settings.data_dir == default_data_dir({})
    assert settings.agents_dir == home.project / "agents"
    assert settings.workflows_dir == home.project / "config" / "workflows"
    assert settings.limits == DEFAULT_LIMITS
    assert settings.endpoints == dict(KNOWN_ENDPOINTS)
    assert set(settings.sources.values()) == {"default"} and set(settings.sources) == set(Given.model_fields)


def test_the_strongest_source_wins_and_is_named(home: Home) -> None:
    hub, user_hub = "\nworkers_max = 3", "workers_max = 2\nagents_per_worker = 7"
    home.write(user_hub=user_hub)
    assert home.load().workers_max == 2
    home.write(hub=hub)
    settings = home.load()
    assert (settings.workers_max, settings.agents_per_worker) == (3, 7)
    assert settings.sources["workers_max"] == f"{home.project}/config/hub.toml:2"
    assert settings.sources["agents_per_worker"] == f"{home.user}/hub.toml:2"
    settings = home.load({"FELIXHUB_WORKERS_MAX": "4"})
    assert (settings.workers_max, settings.sources["workers_max"]) == (4, "FELIXHUB_WORKERS_MAX")
    settings = home.load({"FELIXHUB_WORKERS_MAX": "4"}, workers_max=5)
    assert (settings.workers_max, settings.sources["workers_max"]) == (5, "--workers-max")


def test_a_flag_not_given_and_an_empty_variable_say_nothing(home: Home) -> None:
    settings = home.load({"FELIXHUB_MODEL": "", "FELIXHUB_FAILPOINT": "x", "PATH": "y"}, model=None)
    assert settings.model is None


def test_variables_are_text_and_become_what_they_mean(home: Home) -> None:
    settings = home.load(
        {
            "FELIXHUB_DATA": "there",
            "FELIXHUB_HUB": "tcp://127.0.0.1:7800",
            "FELIXHUB_LISTEN": "tcp://127.0.0.1:7900",
            "FELIXHUB_LLM": "ollama",
            "FELIXHUB_MODEL": "8",
            "FELIXHUB_BATCH_INTERVAL_S": "0.25",
            "FELIXHUB_STREAMING": "off",
            "FELIXHUB_AGENTS_PER_WORKER": "4",
        }
    )
    assert settings.data_dir == home.project / "there"
    assert (settings.hub, settings.listen) == ("tcp://127.0.0.1:7800", "tcp://127.0.0.1:7900")
    assert (settings.llm, settings.model) == ("ollama", "8")
    assert (settings.batch_interval_s, settings.streaming, settings.agents_per_worker) == (0.25, False, 4)


def test_relative_paths_begin_where_they_were_said(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    home.write(hub="data_dir = 'd'\nhub = 'h'", user_hub="data_dir = 'user-d'")
    settings = home.load()
    assert (settings.data_dir, settings.hub) == (home.project / "d", str(home.project / "h"))
    (home.project / "config" / "hub.toml").unlink()
    assert home.load().data_dir == home.user / "user-d"
    assert home.load(data_dir=Path("~/x")).data_dir == Path("/home/somebody/x")
    assert home.load(data_dir="/abs").data_dir == Path("/abs")
    assert home.mistakes(data_dir="~nobody-of-this-name/x")[0].startswith("--data: 'data_dir' names the home of a user")


def test_limits_are_laid_over_one_another(home: Home) -> None:
    home.write(hub="[limits]\nbeat_s = 1", user_hub="[limits]\nbeat_s = 9.0\nopen_runs_max = 5\nlease_grace_s = 0")
    settings = home.load()
    assert settings.limits == Limits(beat_s=1.0, open_runs_max=5, lease_grace_s=0.0)
    assert settings.sources["limits.beat_s"] == f"{home.project}/config/hub.toml:2"
    assert settings.sources["limits.open_runs_max"] == f"{home.user}/hub.toml:3"


@pytest.mark.parametrize("name", [field.name for field in fields(Limits)])
def test_every_limit_must_mean_something(home: Home, name: str) -> None:
    words = "a number from 0 up" if name in ZERO_ALLOWED else "a number above 0"
    home.write(hub=f"[limits]\n{name} = -1")
    assert home.mistakes() == [f"hub.toml:2: '{name}' must be {words}, not -1"]
    home.write(hub=f"[limits]\n{name} = 0")
    if name in ZERO_ALLOWED:
        assert getattr(home.load().limits, name) == 0
    else:
        assert home.mistakes() == [f"hub.toml:2: '{name}' must be {words}, not 0"]


def test_an_infinite_limit_is_none(home: Home) -> None:
    home.write(hub="[limits]\nretention_s = inf")
    assert home.mistakes() == ["hub.toml:2: 'retention_s' must be a number above 0, not inf"]


def test_endpoints_are_laid_over_the_known_ones(home: Home) -> None:
    home.write(
        llm='default = "mine"\n[endpoints.lmstudio]\nmax_concurrent = 2\n[endpoints.mine]\nmodel = "m"',
        user_llm='[endpoints.mine]\nbase_url = "http://10.0.0.5:8000/v1/"\nmodel = "old"\n'
        "[endpoints.lmstudio]\nstreaming = false",
    )
    settings = home.load()
    lmstudio = settings.endpoints["lmstudio"]
    assert (lmstudio.base_url, lmstudio.max_concurrent, lmstudio.streaming) == ("http://localhost:1234/v1", 2, False)
    mine = settings.endpoint("mine")
    assert (mine.name, mine.base_url, mine.model) == ("mine", "http://10.0.0.5:8000/v1", "m")
    assert (settings.llm, settings.sources["llm"]) == ("mine", f"{home.project}/config/llm.toml:1")
    assert settings.sources["endpoints.mine"] == f"{home.project}/config/llm.toml:4"
    assert settings.endpoints["ollama"] == KNOWN_ENDPOINTS["ollama"]


def test_an_endpoint_by_name_or_url(home: Home) -> None:
    home.write(llm='[endpoints.mine]\nbase_url = "http://10.0.0.5:8000/v1"\nmodel = "m"')
    settings = home.load(llm="http://10.0.0.9/v1")
    assert settings.llm is not None and settings.endpoint(settings.llm).base_url == "http://10.0.0.9/v1"
    assert settings.endpoint("http://10.0.0.5:8000").name == "mine"
    with pytest.raises(ConfigError, match=r"no endpoint called 'olama' \(there are: .*\): did you mean 'ollama'\?"):
        settings.endpoint("olama")
    with pytest.raises(ConfigError, match=r"no endpoint called 'zzz' .*: take one of them, or a URL like http"):
        settings.endpoint("zzz")


def test_every_mistake_of_every_source_is_told_at_once(home: Home) -> None:
    home.write(
        hub="batch_interval = 0.2\nstreaming = 'no'\nbeat_s = 1\n"
        "[limits]\nbeats_s = 1\nworkers_max = 3\nopen_runs_max = 0",
        llm="modle = 'x'\n[endpoints.lmstudio]\nmax_concurent = 1\n[endpoints.mine]\nmodel = 'm'\n[endpoints.lmstduio]",
        user_hub="workers_max = 0",
        user_llm="default = \n",
    )
    environ = {"FELIXHUB_STREAMING": "maybe", "FELIXHUB_MODLE": "x"}
    assert home.mistakes(environ, workers_max=5000) == [
        "user/hub.toml:1: 'workers_max' must be at least 1, not 0",
        "user/llm.toml:1: this is not TOML (Invalid value): put text in quotes; write true and false small",
        "hub.toml:1: there is no key 'batch_interval' here: did you mean 'batch_interval_s'?",
        "hub.toml:2: 'streaming' must be true or false, not 'no': leave out the quotes",
        "hub.toml:3: 'beat_s' does not belong here: move it into the table 'limits'",
        "hub.toml:5: there is no key 'beats_s' here: did you mean 'beat_s'?",
        "hub.toml:6: 'workers_max' does not belong in this table: move it above the first [table]",
        "hub.toml:7: 'open_runs_max' must be a number above 0, not 0",
        "llm.toml:1: there is no key 'modle' here: did you mean 'model'?",
        "llm.toml:3: endpoint 'lmstudio': there is no key 'max_concurent' here: did you mean 'max_concurrent'?",
        "llm.toml:4: endpoint 'mine': it is a new one, so it needs a base_url, such as base_url ="
        ' "http://localhost:1234/v1"',
        "llm.toml:6: endpoint 'lmstduio': it is a new one, so it needs a base_url: did you mean 'lmstudio'?",
        "FELIXHUB_STREAMING: 'streaming' must be true or false, not 'maybe'",
        "FELIXHUB_MODLE: there is no such variable: did you mean 'FELIXHUB_MODEL'?",
        "--workers-max: 'workers_max' must be at most 1000, not 5000",
    ]


@pytest.mark.parametrize(
    ("llm", "expected"),
    [
        ("endpoints = 3", "llm.toml:1: 'endpoints' must be a table, not 3"),
        ("[endpoints]\nlmstudio = 3", "llm.toml:2: 'lmstudio' must be a table, not 3"),
        ("default = 'lmstdio'", "did you mean 'lmstudio'?"),
        ("[endpoints.ollama]\nname = 'x'", "llm.toml:2: endpoint 'ollama': its name is the table's: remove this line"),
        ("[endpoints.ollama]\nbase_url = 'localhost'", "llm.toml:2: endpoint 'ollama': 'base_url': the base URL must"),
        ("[endpoints.'My Box']\nbase_url = 'http://x/v1'", "llm.toml:1: endpoint 'My Box': this is not a name: use"),
        (
            "[endpoints.ollama]\ncomplete_without_finish_reason = 'dne'",
            "llm.toml:2: endpoint 'ollama': 'complete_without_finish_reason' must be 'done' or 'never', not 'dne': did"
            " you mean 'done'?",
        ),
    ],
)
def test_each_mistake_in_an_endpoint_has_its_line(home: Home, llm: str, expected: str) -> None:
    home.write(llm=llm)
    (told,) = home.mistakes()
    assert told.startswith("llm.toml:") and expected in told


@pytest.mark.parametrize(
    ("source", "llm", "flags"),
    [
        ("llm.toml:1", "default = 'ollma'", {}),
        ("FELIXHUB_LLM", "", {"FELIXHUB_LLM": "ollma"}),
        ("--llm", "", {"llm": "ollma"}),
    ],
)
def test_an_unknown_endpoint_is_told_where_it_was_chosen(
    home: Home, source: str, llm: str, flags: dict[str, str]
) -> None:
    home.write(llm=llm)
    environ = {name: value for name, value in flags.items() if name.isupper()}
    (told,) = home.mistakes(environ, **{name: value for name, value in flags.items() if name.islower()})
    assert told.startswith(f"{source}: there is no endpoint called 'ollma' (there are: llamacpp, lmstudio,")
    assert told.endswith("did you mean 'ollama'?")


def test_a_named_folder_must_exist(home: Home) -> None:
    home.write(hub="agents_dir = 'mine'")
    missing = home.project / "mine"
    assert home.mistakes() == [f"hub.toml:1: there is no folder {missing}: make it, or name another"]
    missing.mkdir()
    assert home.load().agents_dirs == [missing, folders.packaged("agents")]


@pytest.mark.parametrize(
    "table",
    [
        f'api_key = "{SECRET}"',
        f'token = "{SECRET}"',
        f'api_key_env = "{SECRET}"',
        'api_key_env = "gsk_Zq81secret"',
        f'base_url = "http://user:{SECRET}@localhost/v1"',
        f'base_url = "http://localhost/v1?key={SECRET}"',
        f'extra_headers = {{ Authorization = "Bearer {SECRET}" }}',
        f'extra_headers = {{ "X-API-Key" = "{SECRET}" }}',
        f'extra_headers = ["{SECRET}"]',
        f'api_key_env = ["{SECRET}"]',
        f'api_key_fil = "{SECRET}"',
    ],
)
def test_a_key_in_a_file_is_refused_and_not_repeated(home: Home, table: str) -> None:
    home.write(llm=f"[endpoints.openai]\n{table}")
    (told,) = home.mistakes()
    assert told.startswith("llm.toml:2: endpoint 'openai': ")
    assert "secret" not in told


@pytest.mark.parametrize(
    ("user_llm", "table", "what", "key"),
    [
        ("", "", "the key in OPENAI_API_KEY", "api_key_env"),
        ("", 'api_key_file = "/k"', "the key in OPENAI_API_KEY", "api_key_env"),
        (
            '[endpoints.openai]\napi_key_file = "/home/me/key"',
            'api_key_env = "X"',
            "the key in /home/me/key",
            "api_key_file",
        ),
        (
            '[endpoints.openai]\nextra_headers = { X-Team = "t" }',
            'api_key_env = "X"',
            "the headers X-Team",
            "extra_headers",
        ),
    ],
)
@pytest.mark.parametrize(
    "url", ["http://evil.example/v1", "http://api.openai.com/v1", "https://api.openai.com:8443/v1", "https://evil/v1"]
)
def test_a_project_takes_no_secret_to_another_server_in_passing(
    home: Home, user_llm: str, table: str, what: str, key: str, url: str
) -> None:
    home.write(llm=f'[endpoints.openai]\nbase_url = "{url}"\n{table}', user_llm=user_llm)
    assert home.mistakes() == [
        f"llm.toml:2: endpoint 'openai': this would send {what} to {url}: if that is meant, write {key} into this"
        " table too; if not, remove base_url, or give that server a name of its own"
    ]


def test_a_secret_goes_where_the_user_or_the_table_itself_sends_it(home: Home) -> None:
    mine = '[endpoints.openai]\nbase_url = "https://mine.example/v1"'
    home.write(user_llm=mine)
    assert home.load().endpoint("openai").api_key_env == "OPENAI_API_KEY"  # The user's own file is the user's word.
    home.write(llm=f'{mine}\napi_key_env = "MY_KEY"', user_llm="model = 'm'")
    assert home.load().endpoint("openai").api_key_env == "MY_KEY"
    home.write(
        llm='[endpoints.openai]\nbase_url = "https://API.openai.com:443/v2"\n[endpoints.ollama]\n'
        'base_url = "http://10.0.0.5/v1"'
    )
    assert home.load().endpoint("openai").base_url == "https://API.openai.com:443/v2"  # The same server.


@pytest.mark.parametrize(
    ("llm", "url", "allowed"),
    [
        ("http://10.0.0.9:80/v1", "http://10.0.0.9/other/v1", True),
        ("https://HOST", "https://host:443/v1", True),
        ("http://10.0.0.9/v1", "https://10.0.0.9/v1", False),
        ("http://10.0.0.9/v1", "http://10.0.0.9:8000/v1", False),
        ("http://10.0.0.9/v1", "http://evil/v1", False),
        ("http://10.0.0.9/v1", "http://10.0.0.9.evil/v1", False),
        ("ollama", "http://localhost:11434/v1", False),
        (None, "http://10.0.0.9/v1", False),
    ],
)
def test_the_key_for_a_url_goes_to_the_server_that_was_chosen(
    home: Home, llm: str | None, url: str, allowed: bool
) -> None:
    assert home.load(llm=llm).key_allowed(url) is allowed
    assert home.load({"FELIXHUB_LLM": llm or ""}).key_allowed(url) is allowed


def test_a_port_must_be_one(home: Home) -> None:
    home.write(llm="default = 'http://host:99999/v1'")
    (told,) = home.mistakes()
    assert told.startswith("llm.toml:1: The endpoint's URL is not usable")


@pytest.mark.parametrize("url", [f"https://user:{SECRET}@host/v1", f"https://host/v1?key={SECRET}"])
def test_a_key_in_a_url_is_refused_and_not_repeated(home: Home, url: str) -> None:
    (told,) = home.mistakes(llm=url)
    assert told.startswith("--llm: ") and "secret" not in told


def test_settings_never_show_a_key(home: Home) -> None:
    home.write(llm=f'default = "openai"\n[endpoints.openai]\nextra_headers = {{ X-Session = "{SECRET}" }}')
    settings = home.load({"OPENAI_API_KEY": SECRET, "FELIXHUB_MODEL": "m"})
    assert settings.endpoint("openai").extra_headers == {"X-Session": SECRET}  # the client needs it
    shown = [
        repr(settings),
        str(settings),
        settings.model_dump_json(),
        str(settings.model_dump()),
        str(settings.sources),
    ]
    for text in shown:
        assert "secret" not in text
    assert '"api_key_env":"OPENAI_API_KEY"' in settings.model_dump_json()
    assert '"X-Session":"***"' in settings.model_dump_json()


def test_names_of_flags_and_variables() -> None:
    assert (flag_of("data_dir"), variable_of("data_dir")) == ("--data", "FELIXHUB_DATA")
    assert (flag_of("workers_max"), variable_of("workers_max")) == ("--workers-max", "FELIXHUB_WORKERS_MAX")


def test_a_programmers_misspelt_flag_is_our_fault(home: Home) -> None:
    with pytest.raises(AssertionError, match="'modle' is no flag"):
        home.load(modle="x")


def test_the_data_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).parents[2]
    assert default_data_dir({}) == root / "felixhub-data"
    assert default_data_dir({"FELIXHUB_DATA": str(tmp_path)}) == tmp_path
    monkeypatch.setattr(folders, "PACKAGE", tmp_path / "site-packages" / "felixhub")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert default_data_dir({}).name == "felixhub"
    assert folders.packaged("config") == tmp_path / "site-packages" / "felixhub" / "defaults" / "config"


def test_the_defaults_that_ship_with_us_are_the_weakest(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = tmp_path / "felixhub" / "defaults" / "config"
    shipped.mkdir(parents=True)
    (shipped / "hub.toml").write_text("workers_max = 1\nagents_per_worker = 2")
    monkeypatch.setattr(folders, "PACKAGE", tmp_path / "felixhub")
    home.write(user_hub="workers_max = 9")
    settings = home.load()
    assert (settings.workers_max, settings.agents_per_worker) == (9, 2)
    assert settings.sources["agents_per_worker"] == f"{shipped}/hub.toml:2"


def test_settings_import_nothing_heavy() -> None:
    program = "import sys, felixhub.settings.settings; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"zmq", "openai", "yaml", "sqlite3", "structlog", "pydantic_settings", "platformdirs"} & set(loaded)


@pytest.mark.parametrize("line", [f'api_key = "{SECRET}"', f'api_key_env = "{SECRET}"'])
def test_who_writes_a_key_is_told_where_it_belongs(home: Home, line: str) -> None:
    home.write(llm=f"[endpoints.openai]\n{line}")
    (told,) = home.mistakes()
    assert "variable's name" in told and ("api_key_env" in told)
