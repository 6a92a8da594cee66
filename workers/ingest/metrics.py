"""Metrics of a line: of its sockets, their streams, what they bring, and what of it is appended."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

MESSAGES = Counter("fleet_messages_total", "Messages received", ["venue", "line", "channel"])
LINE_REPEATS = Counter("fleet_line_repeats_total", "Repeats one line saw of its own", ["venue", "line"])
LINE_BREAKS = Counter("fleet_line_breaks_total", "Breaks in a line's own sequence", ["venue", "line"])
MALFORMED = Counter("fleet_malformed_frames_total", "Frames that could not be used", ["venue", "line"])
FAILED = Counter(
    "fleet_frame_failed_total",
    "Frames that ended in an error nobody foresaw, and were dropped",
    ["venue", "line"],
)
REFUSALS = Counter("fleet_subscription_refused_total", "Error frames received", ["venue", "line"])
AHEAD = Counter(
    "fleet_events_ahead_total", "Messages filed by our time, theirs being ahead of it", ["venue", "line"]
)
ABSURD_IDS = Counter(
    "fleet_trade_id_absurd_total",
    "Trades dropped because their ids were far from where the stream went on",
    ["venue", "line"],
)
CONTRADICTIONS = Counter(
    "fleet_trade_contradictory_total",
    "Trades refused because another one of their id had come",
    ["venue", "line"],
)
UNKNOWN = Counter("fleet_unknown_symbol_total", "Messages of symbols nobody asked for", ["venue", "line"])
BROKEN = Counter(
    "fleet_connections_broken_total",
    "Sockets replaced because something was missing on them",
    ["venue", "line"],
)
ANEW = Counter(
    "fleet_streams_anew_total",
    "Streams subscribed anew because something was missing in them",
    ["venue", "line"],
)
TORN = Counter(
    "fleet_streams_torn_total",
    "Streams of which the exchange said that something is missing",
    ["venue", "line", "reason"],
)
UNANSWERED = Counter(
    "fleet_requests_unanswered_total", "Control requests the exchange never answered", ["venue", "line"]
)
CONNECTED = Gauge("fleet_sockets_connected", "Sockets open", ["venue", "line"])
CONNECTS = Counter("fleet_connects_total", "Sockets opened", ["venue", "line"])
SILENT_STREAMS = Counter("fleet_stream_silent_total", "Streams acknowledged without data", ["venue", "line"])
SILENT_SOCKETS = Counter(
    "fleet_socket_silent_total", "Sockets replaced because nothing arrived", ["venue", "line"]
)
OVERSIZED = Counter(
    "fleet_oversized_frames_total", "Sockets closed by a frame beyond the limit", ["venue", "line"]
)
REFUSED = Gauge("fleet_streams_refused", "Streams the exchange refuses to a line", ["venue", "line"])
STOPPED = Counter(
    "fleet_stream_stopped_total",
    "Streams subscribed anew because they fell silent while their socket lived",
    ["venue", "line"],
)
REVIVED = Counter(
    "fleet_stream_revived_total",
    "Streams subscribed anew because somebody found them dead",
    ["venue", "line"],
)
APPENDED = Counter("fleet_appended_total", "Entries appended to raw streams", ["line"])
APPEND_REPEATS = Counter(
    "fleet_append_repeats_total", "Entries the streams had already (the other line won)", ["line"]
)
RESETS = Counter("fleet_id_resets_total", "Update ids that started anew", ["line"])
DROPPED = Counter("fleet_buffer_dropped_total", "Entries dropped because the buffer was full", ["line"])
SPARED = Counter(
    "fleet_buffer_dropped_held_total",
    "Entries dropped because the buffer was full which the log has all the same, from the other line",
    ["line"],
)
SKIPPED = Counter(
    "fleet_tickers_skipped_total",
    "Tickers and messages of further channels not buffered while Redis was slow, so that the rest fits",
    ["line"],
)
STOOD_BY = Counter(
    "fleet_append_stood_by_total",
    "Entries not appended because another line, or a later socket of this one, writes the stream",
    ["line"],
)
APPEND_REFUSED = Counter(
    "fleet_append_refused_total", "Entries Redis refused for good (key of another type)", ["line"]
)
APPEND_FAILURES = Counter(
    "fleet_append_failed_total", "Append calls that failed and were tried again", ["line"]
)
BUFFERED = Gauge("fleet_buffer_entries", "Entries waiting for Redis", ["line"])
LEAD = Histogram(
    "fleet_line_lead_seconds",
    "By how much the first copy of a message was ahead of this line's (a sample)",
    ["first", "line"],
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1),
)
DELAY = Histogram(
    "fleet_append_delay_seconds",
    "From the frame's arrival to its entry in Redis (newest of a batch)",
    ["line"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
)
