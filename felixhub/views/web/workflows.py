"""The workflows as a form that starts a run needs them.

Owns: what is said of each. Must not: talk to a hub.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from felixhub.core.errors import ConfigError
from felixhub.settings.settings import load_settings
from felixhub.settings.workflows import list_workflows, load_workflow


def told_workflows() -> list[dict[str, Any]]:
    """Every sound workflow by name: what it is for, who takes part, its sections, and what may be asked for."""
    settings = load_settings({}, dict(os.environ), Path.cwd())
    found: list[dict[str, Any]] = []
    for name, path in list_workflows(settings.workflows_dirs).items():
        try:
            workflow = load_workflow(path, [])
        except ConfigError as error:
            found.append({"name": name, "fault": error.sentence})
            continue
        synthesis = [workflow.synthesis.section] if workflow.synthesis else []
        listed = {
            stage.name: [item.title or item.name for item in workflow.lists.get(stage.for_each or "", ())]
            for stage in workflow.stages
        }
        found.append(
            {
                "name": name,
                "about": workflow.about,
                "agents": workflow.agents(),
                "sections": [
                    title
                    for stage in workflow.stages
                    if stage.section
                    for title in (listed[stage.name] or [stage.section])
                ]
                + synthesis,
                "options": [stage.name for stage in workflow.stages if stage.optional],
            }
        )
    return found
