"""From a posted body to the `start` command.

Owns: that a page can name a workflow, never a file of the gateway's machine, and that what is uploaded is read as any
document is. Must not: talk to the hub.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import tempfile
from pathlib import Path

from felixhub.client.starting import Wishes, build_start, choose_endpoint
from felixhub.core.errors import ConfigError
from felixhub.core.messages import Start
from felixhub.core.names import NAME_PATTERN
from felixhub.settings.settings import load_settings
from felixhub.settings.workflows import list_workflows
from felixhub.views.web.bodies import File, Starting
from felixhub.views.web.refusal import Refusal


def made_start(body: Starting, given_id: str | None) -> Start:
    """Blocks: it reads files. Raises ConfigError, Refusal."""
    settings = load_settings({"llm": body.llm or body.endpoint, "model": body.model}, dict(os.environ), Path.cwd())
    known = list_workflows(settings.workflows_dirs)
    if body.workflow not in known:
        raise Refusal(400, "unknown_workflow", f"there is no workflow '{body.workflow}'", "workflow")
    endpoint, _ = choose_endpoint(settings, os.environ)
    with tempfile.TemporaryDirectory(prefix="felixhub-web-") as folder:
        files = [_written(file, Path(folder) / str(number)) for number, file in enumerate(body.files)]
        try:
            start = build_start(
                settings,
                task=body.task,
                workflow=body.workflow,
                files=files,
                endpoint=endpoint,
                wishes=Wishes(
                    review=body.review,
                    budget_tokens=body.budget_tokens,
                    after=body.after,
                    include=tuple(body.include),
                ),
                by=body.by,
            )
        except ConfigError as error:
            # The folder is ours: its name says nothing to whoever sent the file.
            raise ConfigError(re.sub(rf"{re.escape(folder)}/\d+/", "", str(error))) from None
    return start.model_copy(update={"id": _run_id(start, given_id)}) if given_id else start


def _run_id(start: Start, given: str) -> str:
    """The run's id is the command's: the same again starts nothing new."""
    if re.fullmatch(NAME_PATTERN, given):
        return given
    return f"{start.workflow.name[:40]}-{hashlib.sha256(given.encode()).hexdigest()[:12]}"


def _written(file: File, folder: Path) -> Path:
    """The uploaded file under its own name, in a folder of its own. Raises Refusal."""
    name = file.name
    if "/" in name or "\\" in name or "\0" in name or name in (".", "..") or len(name.encode()) > 255:
        raise Refusal(400, "bad_input", "a file's name is a name, without a folder", "files")
    if (file.text is None) == (file.base64 is None):
        raise Refusal(400, "bad_input", f"{name}: give either text or base64", "files")
    if file.text is not None:
        data = file.text.encode(errors="replace")
    else:
        try:
            data = base64.b64decode(file.base64 or "", validate=True)
        except (binascii.Error, ValueError):
            raise Refusal(400, "bad_input", f"{name}: this is not base64", "files") from None
    folder.mkdir(mode=0o700)
    path = folder / name
    path.write_bytes(data)
    return path
