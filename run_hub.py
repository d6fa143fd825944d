#!/usr/bin/env python3
"""Start hub, agents and a view: `python run_hub.py "TASK"`. The same as `felixhub up` from an install."""

import sys

if __name__ == "__main__":
    try:
        from felixhub.cli.main import main
    except ModuleNotFoundError as error:
        sys.exit(f"run_hub.py: {error}. Run `make setup` once, then `.venv/bin/python run_hub.py`.")
    arguments = sys.argv[1:]
    sys.exit(main(arguments if arguments == ["--version"] else ["up", *arguments]))
