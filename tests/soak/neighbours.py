"""Imported for its effect: the modules of `tests/faults` (harness, verdict, watcher) can be imported from here.

The test folders are no packages and each is on the path only when a test of it runs. The soak is run as a program too.
"""

from __future__ import annotations

import sys
from pathlib import Path

FAULTS_DIR = Path(__file__).parent.parent / "faults"

if str(FAULTS_DIR) not in sys.path:
    sys.path.append(str(FAULTS_DIR))
