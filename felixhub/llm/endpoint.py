"""The endpoints: where a model is, how it is spoken to, and which one to take when nobody has chosen.

Owns: the settings of one endpoint, the known ones, where a key comes from, the look around this machine.
Must not: keep or show a key (it goes straight into a SecretStr), or talk to a model.
"""

from __future__ import annotations

import http.client
import json
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from felixhub.core.errors import ConfigError

OFFLINE_MODEL = "offline-extractive"
OFFLINE_LABEL = "offline model, extractive"
CONTEXT_TOKENS_UNKNOWN = 4096
PROBE_S = 0.3
KEY_BYTES_MAX = 4096


class Endpoint(BaseModel):
    """One OpenAI-compatible server. Seconds are wall seconds; tokens are the server's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    base_url: str
    model: str | None = None  # None: ask the server, the first of /v1/models
    api_key_env: str | None = None  # the name of an environment variable, never the key itself
    api_key_file: str | None = None  # must have mode 0600
    max_concurrent: int = Field(default=4, ge=1)
    streaming: bool = True
    stream_options: bool = True
    context_tokens: int | None = Field(default=None, ge=1)  # None: ask the server, else 4,096
    first_token_s: float = Field(default=120.0, gt=0)
    between_tokens_s: float = Field(default=60.0, gt=0)
    whole_answer_s: float = Field(default=600.0, gt=0)  # without streaming there is no sign of life before the end
    retries_max: int = Field(default=2, ge=0)
    complete_without_finish_reason: Literal["done", "never"] = "done"
    extra_headers: dict[str, str] = Field(default_factory=dict, repr=False)

    @field_validator("base_url")
    @classmethod
    def _plain_url(cls, url: str) -> str:
        if not url:
            return url  # The offline model's is known only when it runs.
        try:
            parts = urlsplit(url)
            _ = parts.port
        except ValueError:  # Its words repeat what stands there, which may be a key.
            raise ValueError("the base URL is not a URL, or its port is no number") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("the base URL must begin with http:// or https:// and name a host")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("the base URL must hold no user, key or query: name a variable as api_key_env instead")
        return url.rstrip("/")

    @classmethod
    def from_url(cls, url: str, *, model: str | None = None, api_key_env: str | None = None) -> Self:
        """An endpoint for `--llm URL`. A known one is recognized; a bare host gets the usual `/v1`."""
        url = url.strip().rstrip("/").removesuffix("/chat/completions")
        try:
            endpoint = cls(name=urlsplit(url).netloc.rpartition("@")[2] or "url", base_url=url)
        except ValueError:
            raise ConfigError(
                "The endpoint's URL is not usable: write it like http://localhost:1234/v1, without user, key or query;"
                " a key belongs into an environment variable."
            ) from None
        if not urlsplit(endpoint.base_url).path:
            endpoint = endpoint.at(f"{endpoint.base_url}/v1")
        for known in KNOWN_ENDPOINTS.values():
            if known.base_url == endpoint.base_url:
                endpoint = cls(**known.model_dump())
        changes = {"model": model, "api_key_env": api_key_env}
        return endpoint.model_copy(update={key: value for key, value in changes.items() if value is not None})

    def at(self, base_url: str) -> Self:
        """The same endpoint at another address, as for the offline model once it runs."""
        return self.model_copy(update={"base_url": base_url.rstrip("/")})

    @property
    def on_this_machine(self) -> bool:
        """Whether requests stay on the loopback interface."""
        host = urlsplit(self.base_url).hostname or ""
        return host in ("localhost", "::1") or host.startswith("127.")


KNOWN_ENDPOINTS: Mapping[str, Endpoint] = MappingProxyType(
    {
        endpoint.name: endpoint
        for endpoint in (
            Endpoint(name="lmstudio", base_url="http://localhost:1234/v1"),
            Endpoint(name="ollama", base_url="http://localhost:11434/v1"),
            Endpoint(name="llamacpp", base_url="http://localhost:8080/v1"),
            Endpoint(name="vllm", base_url="http://localhost:8000/v1", max_concurrent=16),
            # The first model of these two lists is an arbitrary one, so theirs is named.
            Endpoint(
                name="openrouter",
                base_url="https://openrouter.ai/api/v1",
                model="openrouter/auto",
                api_key_env="OPENROUTER_API_KEY",
                max_concurrent=8,
            ),
            Endpoint(
                name="openai",
                base_url="https://api.openai.com/v1",
                model="gpt-5.4-mini",
                api_key_env="OPENAI_API_KEY",
                context_tokens=128_000,  # its list of models does not say
                max_concurrent=8,
            ),
            Endpoint(name="offline", base_url="", model=OFFLINE_MODEL, max_concurrent=64),
        )
    }
)

_START_HINTS: Mapping[str, str] = MappingProxyType(
    {
        "lmstudio": "start LM Studio's server (Developer, Start server, with a model loaded)",
        "ollama": "start Ollama (ollama serve)",
        "llamacpp": "start llama.cpp's server (llama-server -m MODEL.gguf)",
        "vllm": "start vLLM (vllm serve MODEL)",
        "offline": "start the offline model again",
    }
)


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port: who gets what is sent to a usable URL."""
    parts = urlsplit(url.strip())
    return parts.scheme, parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def start_hint(endpoint: Endpoint) -> str:
    """What to do when nothing answers there."""
    if endpoint.name in _START_HINTS:
        return _START_HINTS[endpoint.name]
    return "start that server" if endpoint.on_this_machine else "check the address and your network"


def shown_model(model: str) -> str:
    """A model's name as every screen, log and document shows it."""
    return OFFLINE_LABEL if model == OFFLINE_MODEL else model


def resolve_key(endpoint: Endpoint, environ: Mapping[str, str]) -> SecretStr:
    """The key of an endpoint, from the environment, else from its file; empty if it needs none.

    Raises `ConfigError`, without the key in it, if a key is named but missing, unreadable, or open to others.
    """
    if endpoint.api_key_env is not None:
        key = environ.get(endpoint.api_key_env, "").strip()
        if key:
            return _checked(key, f"The environment variable {endpoint.api_key_env}")
        if endpoint.api_key_file is None:
            raise ConfigError(
                f"The endpoint {endpoint.name!r} needs a key and the environment variable {endpoint.api_key_env} is"
                f" not set: export {endpoint.api_key_env}=…, or choose another endpoint with --llm."
            )
    if endpoint.api_key_file is not None:
        return _checked(_read_private(endpoint.api_key_file), f"The key file {endpoint.api_key_file}")
    return SecretStr("")


def discover(
    environ: Mapping[str, str],
    known: Mapping[str, Endpoint] = KNOWN_ENDPOINTS,
    *,
    has_model: Callable[[Endpoint], bool] | None = None,
) -> tuple[Endpoint, str]:
    """The endpoint to take when none is configured, and one line that says so to the user.

    First a key in the environment, then LM Studio and Ollama on this machine (0.3 s each), else the offline model.
    """
    for endpoint in known.values():
        if endpoint.api_key_env and environ.get(endpoint.api_key_env, "").strip():
            return endpoint, f"Using {endpoint.name} ({endpoint.model}): {endpoint.api_key_env} is set."
    has_model = has_model or _has_model
    for name in ("lmstudio", "ollama"):
        if name in known and has_model(known[name]):
            return known[name], f"Using {name}, which answers at {known[name].base_url}."
    sentence = (
        "No key in the environment and neither LM Studio nor Ollama on this machine: using the built-in"
        f" {OFFLINE_LABEL}. Choose a real one with --llm NAME|URL."
    )
    return known["offline"], sentence


def chat_models(listed: object) -> list[str]:
    """The names in the answer of `/v1/models`, without those that only embed text."""
    entries = listed.get("data") if isinstance(listed, Mapping) else None
    if not isinstance(entries, list):
        return []
    names = [entry.get("id") for entry in entries if isinstance(entry, Mapping)]
    return [name for name in names if isinstance(name, str) and name and "embed" not in name.lower()]


def _has_model(endpoint: Endpoint) -> bool:
    """Whether the server answers with a chat model within `PROBE_S`."""
    parts = urlsplit(endpoint.base_url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PROBE_S)
    try:
        connection.request("GET", f"{parts.path}/models")
        return bool(chat_models(json.loads(connection.getresponse().read(1 << 20))))
    except (OSError, http.client.HTTPException, ValueError):
        return False
    finally:
        connection.close()


def _read_private(name: str) -> str:
    path = Path(name).expanduser()
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if os.name == "posix" and mode & 0o177:
                raise ConfigError(f"The key file {path} has mode {mode:04o} and others may read it: chmod 600 {path}")
            return file.read(KEY_BYTES_MAX).decode()
    except UnicodeDecodeError:
        raise ConfigError(f"The key file {path} is not text: it must hold one line, the key.") from None
    except OSError as error:
        raise ConfigError(f"The key file {path} cannot be read: {error.strerror}.") from None


def _checked(key: str, where: str) -> SecretStr:
    key = key.strip()
    if not key:
        raise ConfigError(f"{where} is empty: it must hold the key.")
    if not (key.isascii() and key.isprintable()) or " " in key:
        # A header cannot carry it, and the HTTP library would show it in its complaint.
        raise ConfigError(f"{where} does not hold a usable key: a key is one word of plain characters.")
    return SecretStr(key)
