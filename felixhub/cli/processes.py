"""The entries of the processes: hub, worker, offline model. Each runs alone or as a child of the supervisor.

Owns: how a process is set up before its work begins. Must not: hold the work itself.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from felixhub.core.errors import ConfigError, FelixError
from felixhub.core.names import HUB, NAME_PATTERN
from felixhub.logs import configure_logs, get_log, log_file
from felixhub.settings.settings import Settings, load_settings
from felixhub.transport.address import find_hub
from felixhub.transport.control import Find

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from felixhub.llm.endpoint import Endpoint

EXIT_FAILED = 1
PARENT_FD = 0  # standard input is the supervisor's pipe
NO_OFFLINE_MODEL = (
    "this worker knows of no offline model: start one with `felixhub offline-model --port 9000`, and this worker with "
    "--offline-url http://127.0.0.1:9000/v1"
)
OFFLINE_MODEL_FAILED = "the offline model did not start; logs/supervisor.log may say why: start `felixhub up` again"


def settings_for(**flags: Any) -> Settings:
    """The settings with these flags on top; flags that are None were not given."""
    given = {name: value for name, value in flags.items() if value is not None}
    return load_settings(given, dict(os.environ), Path.cwd())


def finder(settings: Settings, hub: str | None) -> Find:
    """How to find the hub that `--hub`, `FELIXHUB_HUB` or the data directory names."""
    return lambda: find_hub(hub or settings.hub, default=settings.data_dir)


def run_hub_process(
    *, data: Path | None, listen: str | None, plain: bool, pause_unfinished: bool, with_parent: bool
) -> int:
    """`felixhub hub`."""
    from felixhub.eventlog import LogError
    from felixhub.hub.process import run_hub

    settings = settings_for(data_dir=data, listen=listen, plain=plain or None)
    if settings.plain and not settings.listen:
        raise ConfigError("--plain goes with --listen: say where, --listen tcp://127.0.0.1:7800")
    # Under a supervisor the log goes to a file only; what stops the start goes to standard error all the same.
    try:
        configure_logs(file=log_file(settings.data_dir, "hub"), stderr=not with_parent)
    except OSError:
        configure_logs()
    try:
        return run_hub(
            settings.data_dir,
            listen=settings.listen,
            plain=settings.plain,
            unfinished="pause" if pause_unfinished else "continue",
            limits=settings.limits,
            parent_fd=PARENT_FD if with_parent else None,
        )
    except (FelixError, LogError, SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:  # pydantic without memory panics, which is no Exception
        get_log("hub").error("hub_failed", exc_info=True)
        if isinstance(error, Exception):
            raise
        return EXIT_FAILED


def run_agent_process(names: tuple[str, ...], *, hub: str | None, llm: str | None, offline_url: str | None) -> NoReturn:
    """`felixhub agent`. `llm` is where FELIXHUB_LLM_KEY may be sent; which model thinks is the run's to say."""
    from felixhub.llm.endpoint import Endpoint
    from felixhub.worker.process import FENCED_EXIT, REFUSED_EXIT, leave

    for name in names:
        _check_name(name)
    settings = settings_for(llm=llm)
    offline_url = Endpoint.from_url(offline_url).base_url if offline_url else ""
    configure_logs()  # To standard error alone: the hub that it works for may be elsewhere.
    code = _work(
        tuple(dict.fromkeys(names)),
        settings,
        finder(settings, hub),
        resolve=resolver(settings, offline_url, otherwise=NO_OFFLINE_MODEL),
    )
    sentence = {
        FENCED_EXIT: f"another worker has taken over ({', '.join(names)}): an agent has one worker at a time",
        REFUSED_EXIT: "the hub will not have this worker; the log above says why",
    }.get(code)
    if sentence:
        print(f"felixhub: {sentence}", file=sys.stderr)
    leave(1 if sentence else code)


def worker_child(agents: tuple[str, ...], offline_url: str, *, data_dir: Path, llm: str | None) -> None:
    """A worker under the supervisor, which reads its exit code."""
    from felixhub.worker.process import leave

    _be_called(f"felixhub agent {' '.join(agents)}")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's; it stops us politely.
    configure_logs(file=log_file(data_dir, agents[0]))
    try:
        settings = settings_for(data_dir=data_dir, llm=llm)
        code = _work(
            agents,
            settings,
            finder(settings, str(data_dir)),
            resolve=resolver(settings, offline_url, otherwise=OFFLINE_MODEL_FAILED),
            parent_fd=_parent_fd(),
        )
    except Exception:  # noqa: BLE001  (there is nobody else to tell)
        get_log("worker").error("worker_failed", exc_info=True)
        code = 1
    leave(code)


def _check_name(name: str) -> None:
    if name == HUB:
        raise ConfigError(f"'{HUB}' is the hub's own name: no agent can have it")
    if not re.fullmatch(NAME_PATTERN, name) or name.endswith("\n"):
        raise ConfigError(
            f"'{name}' is no agent's name: lower-case letters, digits, - and _, at most 64, a letter or digit first"
        )


def resolver(settings: Settings, offline_url: str, *, otherwise: str) -> Callable[[str], Endpoint]:
    """Endpoints by name, the offline model at `offline_url`. Raises ConfigError, `otherwise` when it is nowhere."""

    def resolve(name: str) -> Endpoint:
        endpoint = settings.endpoint(name)
        if endpoint.name != "offline":
            return endpoint
        if not endpoint.base_url and not offline_url:
            raise ConfigError(otherwise)
        return endpoint.at(offline_url) if offline_url else endpoint

    return resolve


def _be_called(title: str) -> None:
    """What `ps` shows, though all were forked from one."""
    from setproctitle import setproctitle

    setproctitle(title)


def _work(
    agents: tuple[str, ...],
    settings: Settings,
    find: Find,
    *,
    resolve: Callable[[str], Endpoint],
    parent_fd: int | None = None,
) -> int:
    """Host these agents until told to stop; the exit code."""
    from felixhub.worker.process import run_agents

    return run_agents(
        agents,
        hub=find,
        resolve=resolve,
        key_allowed=settings.key_allowed,
        agents_dirs=settings.agents_dirs,
        limits=settings.limits,
        parent_fd=parent_fd,
    )


def offline_child(port: int, ready: Connection) -> None:
    """The offline model under the supervisor; sends its base URL and lives as long as its parent."""
    _be_called("felixhub offline-model")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from felixhub.llm.offline import OfflineModel

    model = OfflineModel(port=port)
    model.start()
    with contextlib.suppress(OSError):  # The supervisor may have been stopped meanwhile.
        ready.send(model.base_url)
    ready.close()
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    model.stop()


def _parent_fd() -> int | None:
    parent = multiprocessing.parent_process()
    sentinel = parent.sentinel if parent is not None else None
    return sentinel if isinstance(sentinel, int) else None


def run_offline_model(*, port: int, tokens_per_s: float, first_token_s: float) -> None:
    """`felixhub offline-model`: prints one line that ends in the base URL, then serves until it is stopped."""
    from felixhub.llm.offline import OfflineModel

    try:
        model = OfflineModel(port=port, tokens_per_s=tokens_per_s, first_token_s=first_token_s)
        model.start()
    except OSError as error:
        raise ConfigError(f"cannot listen on port {port} ({error.strerror}): choose another with --port") from None
    print(f"offline model, extractive, at {model.base_url}", flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        signal.pause()
    except KeyboardInterrupt:
        pass
    finally:
        model.stop()
