"""The one place that names the version; `felixhub --version` and the package read it."""

__version__ = "0.1.0"
