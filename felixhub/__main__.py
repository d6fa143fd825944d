"""`python -m felixhub` is the `felixhub` command."""

from felixhub.cli.main import entry

if __name__ == "__main__":
    entry()
