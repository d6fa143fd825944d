"""Imported for its effect: the modules of other test folders and `tests/ports.py` can be imported from here.

The test folders are no packages and each is on the path only when a test of it runs. The soak is run as a program too.
"""

from __future__ import annotations

import sys
from pathlib import Path

TESTS_DIR = Path(__file__).parent.parent

for folder in (TESTS_DIR, TESTS_DIR / "faults", TESTS_DIR / "views" / "web"):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
