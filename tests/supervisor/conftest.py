"""The fixtures of these tests; what they are made of is in `supervised.py`."""

from supervised import place

__all__ = ["place"]
