"""What a server says about its models: names and the size of their context.

Owns: reading the answers of `/v1/models`, LM Studio's `/api/v0/models`, llama.cpp's `/props`, Ollama's `/api/ps`.
Must not: ask for them; `client.py` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

# In an entry of /v1/models: vLLM, OpenRouter, Groq, our offline model.
_LISTED_FIELDS = ("context_tokens", "max_model_len", "context_length", "context_window", "max_context_length")
# In an entry of LM Studio's and Ollama's own lists; what is loaded counts, not what could be.
_LOADED_FIELDS = ("loaded_context_length", "context_length", "max_context_length")

SERVER_PATHS = ("/api/v0/models", "/props", "/api/ps")  # beside /v1, not under it


def listed_context(listed: object, model: str) -> int | None:
    """The context of `model` in tokens, from the answer of `/v1/models`."""
    return _first(_entries(listed, "data"), model, _LISTED_FIELDS)


def server_context(path: str, answer: object, model: str) -> int | None:
    """The context of `model` in tokens, from the answer of one of `SERVER_PATHS`."""
    if path == "/props" and isinstance(answer, Mapping):
        settings = answer.get("default_generation_settings")
        for holder in (settings, answer):
            if isinstance(holder, Mapping) and (found := _tokens(holder.get("n_ctx"))):
                return found
        return None
    entries = [*_entries(answer, "data"), *_entries(answer, "models")]
    return _first(iter(entries), model, _LOADED_FIELDS)


def is_not_loaded(path: str, answer: object, model: str) -> bool:
    """Whether the server says that the model is not loaded: how much context it will have is not known before it is."""
    if path == "/api/ps":
        is_ollama = isinstance(answer, Mapping) and isinstance(answer.get("models"), list)
        return is_ollama and server_context(path, answer, model) is None
    mine = (entry for entry in _entries(answer, "data") if entry.get("id") == model)
    return any(entry.get("state") == "not-loaded" for entry in mine)


def _entries(answer: object, key: str) -> Iterator[Mapping[str, object]]:
    found = answer.get(key) if isinstance(answer, Mapping) else None
    if isinstance(found, list):
        yield from (entry for entry in found if isinstance(entry, Mapping))


def _first(entries: Iterator[Mapping[str, object]], model: str, fields: tuple[str, ...]) -> int | None:
    for entry in entries:
        if model in (entry.get("id"), entry.get("name"), entry.get("model")):
            return next((tokens for field in fields if (tokens := _tokens(entry.get(field)))), None)
    return None


def _tokens(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
