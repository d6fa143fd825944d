"""What FelixHub is compared with, one module for each peer."""

from __future__ import annotations

from benchmarks.peers.autogen import AutoGen
from benchmarks.peers.forwarder import Forwarder
from benchmarks.peers.hub import FelixHub, FelixHubApart
from benchmarks.peers.nats import JetStream, JetStreamAlways, Nats
from benchmarks.peers.peer import Peer
from benchmarks.peers.redis import RedisPubSub, RedisStreams

FELIXHUB = FelixHub()
FELIXHUB_APART = FelixHubApart()
FORWARDER = Forwarder()
REDIS_STREAMS = RedisStreams()
JETSTREAM_ALWAYS = JetStreamAlways()

PEERS: tuple[Peer, ...] = (
    FORWARDER,
    FELIXHUB,
    FELIXHUB_APART,
    RedisPubSub(),
    REDIS_STREAMS,
    Nats(),
    JetStream(),
    JETSTREAM_ALWAYS,
    AutoGen(),
)
