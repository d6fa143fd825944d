"""What the gateway counts, for Prometheus.

Owns: the names of the figures. Must not: know what they mean.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

registry = CollectorRegistry()

VIEWERS = Gauge("felixhub_web_viewers", "Streams that are open.", registry=registry)
FEEDS = Gauge("felixhub_web_feeds", "Runs that are followed.", registry=registry)
HUB_HERE = Gauge("felixhub_web_hub_here", "1 while the hub is heard.", registry=registry)
EVENTS = Counter("felixhub_web_events", "Events that came from the hub.", registry=registry)
SENT_BYTES = Counter("felixhub_web_sent_bytes", "Bytes that streams were given.", registry=registry)
SNAPSHOTS = Counter("felixhub_web_snapshots", "Snapshots that streams were given.", registry=registry)
LOST = Counter("felixhub_web_backlogs_lost", "Times that a viewer was too slow and started over.", registry=registry)
CAUGHT_UP = Counter("felixhub_web_caught_up", "Viewers that came back and went on where they were.", registry=registry)
GAPS = Counter("felixhub_web_gaps_repaired", "Gaps of the live stream that were repaired.", registry=registry)
COMMANDS = Counter("felixhub_web_commands", "Commands, by what became of them.", ["outcome"], registry=registry)
REFUSED = Counter("felixhub_web_refused", "Requests that were refused, by code.", ["code"], registry=registry)
