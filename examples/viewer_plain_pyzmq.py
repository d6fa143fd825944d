"""A running team's text as it comes, with pyzmq and json alone:  python viewer_plain_pyzmq.py DATA_DIR RUN"""

import json
import sys
from pathlib import Path

import zmq

data_dir, run = sys.argv[1:]
where = json.loads((Path(data_dir) / "connection.json").read_text())
context = zmq.Context()
live, control = context.socket(zmq.SUB), context.socket(zmq.DEALER)
live.subscribe(f"run/{run}/")  # it ends in "/": topics are prefixes
live.connect(where["live"])
control.connect(where["control"])
shown: dict[str, int] = {}  # bytes of each thought
speaker = ""


def show(agent: str, thought: str, new: bytes) -> None:
    global speaker
    text = "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in new.decode())  # never obeyed
    print(text if agent == speaker else f"\n[{agent}] {text}", end="", flush=True)
    shown[thought], speaker = shown.get(thought, 0) + len(new), agent


while True:
    event = json.loads(live.recv_multipart()[1])
    if event.get("status") in ("finished", "failed", "cancelled"):  # the run's beat
        break
    if event.get("channel") == "text" or event["kind"] == "thought.finalized":
        have, new, start = shown.get(event["thought"], 0), event.get("text", "").encode(), event.get("offset", 0)
        if start > have or event.get("length", 0) > have:  # something was missed: joined late, or too slow
            control.send_json({"type": "text", "id": str(event["seq"]), "run": run, "thought": event["thought"]})
            new, start = control.recv_json()["data"]["text"].encode(), 0
        if start + len(new) > have:
            show(event["agent"], event["thought"], new[have - start :])
print()
