"""Every command, by noun. `help` lists them in the order of these lists.

Owns: which modules hold commands. Must not: import what a command needs only when it runs.
"""

from felixhub.cli.commands import processes, runs, setup, texts, viewing
from felixhub.cli.config import app as config
from felixhub.cli.keys import app as keys
from felixhub.cli.workflows import app as workflows

COMMANDS = (runs.app, viewing.app, texts.app, processes.app, setup.app)
GROUPS = {"workflows": workflows, "keys": keys, "config": config}
