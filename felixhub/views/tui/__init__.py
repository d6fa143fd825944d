"""The terminal UI, `felixhub top`: a run as a grid of panes, one per agent, to watch, steer and review.

    feed (a Subscriber, its board and meter) ──overview──► grid, full screen, timeline, helix
    keys ──► commands (a thread with a ControlClient) ──the hub's sentence──► a notification

Owns: everything that Textual draws. Must not: derive a state, a rate or a timeline; `core/overview.py` does.
"""
