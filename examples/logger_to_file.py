"""A run's events in a file, byte for byte as in the log:  python logger_to_file.py FILE RUN [DATA_DIR]"""

import sys
from pathlib import Path

import felixhub

file, run = sys.argv[1:3]
hub = sys.argv[3] if len(sys.argv) > 3 else None  # None: FELIXHUB_HUB, else the default data directory

with Path(file).open("wb") as out, felixhub.subscribe(run, hub=hub, until_done=True) as events:
    while True:
        try:
            for event in events:  # from the run's first event; gaps are repaired on the way
                out.write(event.raw + b"\n")
                out.flush()
            break  # the run has ended
        except felixhub.Reset as reset:  # another log lies there now, as after a restored backup
            print(reset, file=sys.stderr)
            out.seek(0)
            out.truncate()
