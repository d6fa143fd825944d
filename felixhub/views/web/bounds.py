"""Every bound of the gateway in one place: bytes are bytes on the wire, seconds wall seconds.

Owns: the numbers. Must not: enforce one.
"""

from felixhub.core.limits import KIB, MIB

# Viewers
VIEWERS_MAX = 256  # streams open at once; a browser opens one per tab
BACKLOG_BYTES_MAX = 2 * MIB  # of events that wait for one viewer; batches are shared, so many do not cost many times
LINES_WAITING_MAX = 500
LINES_KEPT_MAX = 200  # of the event log in words, for who comes late
CHUNK_BYTES = 64 * KIB  # of one write: what a viewer that stops holds of ours is this, not a whole snapshot
SEND_S_MAX = 60.0  # a viewer that reads nothing for this long is let go; it may come back where it was
CATCH_UP_BYTES_MAX = 1 * MIB  # more than this is not replayed for who comes back: a snapshot is less
SOCKET_BYTES_MAX = 256 * KIB  # that the kernel keeps for one client; by itself it would be some MiB
PING_S = 15

# Feeds
FEEDS_MAX = 32  # runs followed at once
FEED_IDLE_S = 30.0  # how long a run is followed after the last one left
FEED_READY_S_MAX = 5.0  # how long a request waits for a run to be read
FLUSH_S = 0.05  # what comes within this time goes out together; the first after a silence goes at once
TURN_S = 0.1
STATE_MARK_S = 0.1  # between two states when something happened
STATE_S = 0.5  # while text grows or somebody thinks
STATE_STILL_S = 5.0  # while a run waits

# The hub
LOOK_S = 1.0  # how often the hub is asked whether anything is new
LOOK_WAIT_S = 1.5
RUNS_S = 5.0  # how often the list of runs is asked for though nothing seems to be new: one may have been removed
COMMAND_WAIT_S = 5.0
READING_THREADS = 4
COMMAND_THREADS = 2
DESK_WAITING_MAX = 64  # at each of the two

# Requests
SMALL_BODY_BYTES_MAX = 256 * KIB
EDIT_BODY_BYTES_MAX = 8 * MIB  # a text of 4 MiB, as JSON
START_BODY_BYTES_MAX = 24 * MIB  # with documents in base64
BODIES_BYTES_MAX = 64 * MIB  # of all that are being read at once
BODY_S_MAX = 10.0  # and a second more for each of these:
BODY_BYTES_PER_S_MIN = 256 * KIB
HEADER_S_MAX = 5.0
CONNECTIONS_MAX = 1_024
HEAVY_MAX = 2  # documents, differences and Markdown made at once, each in a thread
HEAVY_WAITING_MAX = 32
MARKDOWN_CHARACTERS_MAX = 1_000_000
EXPORT_BYTES_MAX = 64 * MIB  # of a run's events as one file; the command line has no such bound
