"""A storm: `python storm.py COUNT BEATS` connects so many bare subscribers at once and waits until each was served.

Each must hear BEATS lives of the hub: 2 means that the hub is killed meanwhile and all of them come back. Every one is
subscribed to all runs and reads what comes, so the hub has that many more to send to.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import zmq

from felixhub.core.limits import DEFAULT_LIMITS
from felixhub.core.names import HUB_BEAT_TOPIC
from felixhub.transport.address import find_hub
from felixhub.transport.sockets import live_sub

SECONDS = 60.0  # a busy machine; a second or two is usual


def main(count: int, beats: int) -> int:
    data = Path(os.environ["FELIXHUB_DATA"])
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    context.set(zmq.MAX_SOCKETS, count + 10)
    where = find_hub(str(data), default=data).live
    poller = zmq.Poller()
    heard: dict[zmq.Socket[bytes], set[str]] = {}
    for _ in range(count):
        socket = live_sub(context, DEFAULT_LIMITS)
        socket.subscribe(HUB_BEAT_TOPIC)
        socket.subscribe(b"run/")
        socket.connect(where)
        poller.register(socket, zmq.POLLIN)
        heard[socket] = set()
    deadline = time.monotonic() + SECONDS
    came = False
    while any(len(boots) < beats for boots in heard.values()) and time.monotonic() < deadline:
        for socket, _ in poller.poll(100):
            while True:
                try:
                    topic, body = socket.recv_multipart(zmq.DONTWAIT)
                except zmq.Again:
                    break
                if topic == HUB_BEAT_TOPIC:
                    heard[socket].add(json.loads(body)["boot"])
        if not came and all(heard.values()):
            came = True
            print("came", flush=True)
    lacking = sum(len(boots) < beats for boots in heard.values())
    for socket in heard:
        socket.close()
    context.term()
    if lacking:
        print(f"{lacking} of {count} were not served within {SECONDS} s", file=sys.stderr)
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
