"""Imported once, in the small process that workers are forked from: what each of them would otherwise import itself.

Owns: the list. Must not: start anything; no socket and no thread may exist where others are forked from.
"""

import signal

import felixhub.cli.processes
import felixhub.llm.offline
import felixhub.worker.process

felixhub.worker.process.preload()

# This process is born with Ctrl-C blocked, which is for the supervisor; what comes of it ignores Ctrl-C from its birth.
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

LOADED = (felixhub.cli.processes, felixhub.llm.offline)
