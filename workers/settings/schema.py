"""The typed settings: what can be set, its default, and nothing else.

A value comes from, weakest first: the default written here, the TOML file, the environment
(`FLEET_BOOKS__PUBLISH_MS=50` sets `books.publish_ms`; `FLEET_HOME` and `REDIS_URL` set `fleet.home` and
`redis.url`). Loading and validation are in `workers/settings/loading.py`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from workers.settings.alerts import AlertSettings
from workers.settings.analytics import AnalyticsSettings
from workers.settings.api import ApiSettings
from workers.settings.archive import ArchiveSettings
from workers.settings.numbers import Count, Milliseconds, Number, Port, Seconds
from workers.settings.orders import OrderSettings
from workers.settings.postgres import PostgresSettings
from workers.settings.processes import ProcessSettings

DIRECT = "direct"
"""What `proxy` of a venue says against the environment: none."""


class FleetSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """The run directory and the logs."""

    home: str = "var"
    """Where sockets, logs and the server's data live; relative to the checkout (`FLEET_HOME`: to the current
    folder, as everywhere in an installed package)."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"
    heartbeat_ms: Count = 1000
    lease_ms: Count = 3000
    """How long a worker's lease of a symbol outlives its last renewal."""


class RedisSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """The server: one we run ourselves, unless `url` names another."""

    url: str = ""
    """`redis://host:port/db` or `unix:///path`; empty: run our own."""
    port: Port = 0
    """Loopback port of our own server besides its unix socket; 0: none. Without `password` every user of this
    machine may then do everything with it."""
    password: str = ""
    """Password of our own server, also over its unix socket; a secret: set it as `FLEET_REDIS__PASSWORD`."""
    maxmemory_mb: Number = 0
    """Memory limit of our own server (0: none). Nothing is ever evicted: beyond it, writes are refused."""


class VenueSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """One market of one exchange. The section's name is the key prefix, except for the first section.

    What is here holds for every exchange; each has more of its own, in `workers/venues/<exchange>/settings.py`.
    """

    exchange: str
    """The exchange: a folder of `workers/venues/`."""
    market: str
    """Which of its markets."""
    symbols: list[str]
    """The symbols to follow, in capitals or not: names, patterns (`*USDT`), `"all"`, and exclusions (`!*DOWNUSDT`) from
    what the patterns choose. Required."""
    max_symbols: Number = 1_000
    """Symbols followed at most: names count, and patterns fill the rest with the most traded. 0: no bound."""
    trades: str = ""
    """Which stream feeds the trades fold; `"none"`: none does."""
    book_ticker: bool = False
    """Follow the best levels too, where they have a stream of their own: a second source that every book is checked
    against."""
    channels: list[str] = field(default_factory=list)
    """Further streams of the exchange, as it calls them without the symbol (`kline_1m`, `markPrice@1s`, `forceOrder`):
    each goes as it comes into `raw:{S}:<channel>`."""
    orders: bool = False
    """Follow every single order too, where the exchange tells them (docs/level3.md)."""
    websocket_url: str = ""
    """Base of every socket, such as `wss://fstream.binance.com`; empty: the production host."""
    rest_url: str = ""
    """Base of every REST request; empty: the production host."""
    proxy: str = ""
    """By which sockets and REST reach the venue: `http://host:3128`, `http://user:password@host:3128`, or
    `socks5://host:1080` (needs the extra `socks`); `direct`: none; empty: that of the environment (`HTTPS_PROXY`,
    `NO_PROXY`), if there is one."""
    streams_per_socket: Annotated[int, Meta(ge=1, le=1024)] = 200
    streams_per_request: Annotated[int, Meta(ge=1, le=200)] = 100
    request_spacing_ms: Milliseconds = 400
    """Pause between two control frames on one socket, PONGs included; exchanges close sockets that send more than a few
    a second, as they see them arrive."""
    weight_per_minute: Number = 0
    """REST weight we may use a minute; 0: learn it from the exchange and use `weight_share` of it."""
    weight_share: Annotated[float, Meta(gt=0, le=1)] = 0.8

    @property
    def tells_orders(self) -> bool:
        """Whether the exchange tells single orders, and this release follows them."""
        return False

    @property
    def orders_wanted(self) -> str:
        """What it takes to follow single orders, to be told where they are not."""
        if self.tells_orders:
            return "orders = true in its settings"
        return f"another exchange: those of {self.exchange} are not followed by this release"

    @property
    def socket_urls(self) -> tuple[str, ...]:
        """The settings that say where its sockets are."""
        return ("websocket_url",)

    @property
    def own_channels(self) -> Collection[str] | None:
        """The streams that are followed without being named in `channels`; None: no `channels` of the exchange are."""
        return None

    def channel_problem(self, channel: str) -> tuple[str, str]:
        """Why the exchange cannot have a channel, as far as that can be known, and what may be meant; else empty."""
        return "", ""


class IngestSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """Sockets in, stream entries out."""

    flush_ms: Milliseconds = 4
    flush_entries: Count = 400
    buffer_entries: Count = 100_000
    """Entries held while Redis is slow or away; beyond it the oldest are dropped and recorded as gaps."""
    hold_ms: Milliseconds = 40
    """How long a line that saw a break waits for the other line to supply what is missing."""
    trade_hold_ms: Milliseconds = 500
    """The same for trades, which some exchanges send late on all lines: what follows waits, so that they stay in
    order. Never shorter than `hold_ms`."""
    first_message_s: Seconds = 60
    """A stream that sent nothing this long after its ACK is subscribed again."""
    silence_s: Seconds = 60
    """A socket on which nothing at all arrived for this long, not even the answer to a ping, is replaced."""
    stream_silence_s: Seconds = 10
    """A stream silent this long, and four times longer than its longest recent pause, is subscribed anew while its
    socket lives; line b waits half as long again."""
    refused_retry_s: Seconds = 10
    """Pause before a stream the exchange refused is asked for again, by itself; doubles up to 64 times as long."""
    open_timeout_s: Seconds = 10
    rotate_s: Seconds = 82_800
    """Age at which a socket is replaced, with overlap (the exchange closes at 24 h)."""
    rotate_stagger_s: Seconds = 3_600
    """Line b rotates this much earlier than line a."""
    backoff_first_s: Seconds = 0.5
    backoff_max_s: Seconds = 30
    max_frame_bytes: Count = 8_388_608
    """A frame larger than this closes the socket (code 1009) and is counted; exchanges with larger books have more."""
    max_clock_skew_ms: Count = 86_400_000
    """An event older than this by our clock is malformed."""
    max_clock_ahead_ms: Count = 600_000
    """So is one this far in the future. One that is nearer is filed by the time of its arrival."""
    id_reset_ms: Count = 10_000
    """An update id that went back although its time went on this far is the exchange's restart, not a repeat."""
    writer_silent_ms: Count = 5_000
    """Where the exchange numbers nothing, one line writes a book; another one may go on, from a snapshot, once it has
    appended nothing for this long."""
    names_ms: Count = 3_600_000
    """How much older than the newest one trades are known again by name, where their ids are no rising numbers."""


class StreamSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """How long the streams keep their entries."""

    depth_ms: Count = 600_000
    trades_ms: Count = 1_800_000
    ticker_ms: Count = 60_000
    channels_ms: Count = 600_000
    """The same for the further channels of the venues' `channels`."""
    derivatives_ms: Count = 86_400_000
    """The same for `derivatives:{S}`."""
    liquidations_ms: Count = 604_800_000
    """The same for `liquidations:{S}`."""
    top_entries: Count = 600
    """Published top-10 payloads kept in `book:{S}:top`."""
    snapshots: Count = 4
    gaps: Count = 10_000
    retired_ms: Count = 86_400_000
    """How long the keys of a symbol that was delisted, or is no more chosen, are kept."""


class BookSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """Folding depth into books and publishing them."""

    publish_ms: Count = 100
    levels: Count = 5_000
    """Levels kept per side."""
    read_count: Count = 200
    gather_ms: Milliseconds = 10
    commit_ms: Count = 2_000
    commit_entries: Count = 2_000
    snapshot_delay_ms: Milliseconds = 800
    """Pause between the first event of a symbol and the first request for its snapshot, which REST serves late."""
    snapshot_timeout_s: Seconds = 10
    two_snapshots: bool = True
    """Show a book that came into sync only once a second, small snapshot agrees with it; off: by the first alone."""
    compared_levels: Count = 50
    """Levels per side of that second snapshot: more cost more request weight."""
    compare_after_ms: Milliseconds = 500
    """Pause before it, so that REST does not answer with the same copy."""
    snapshot_retry_s: Seconds = 1
    """Least pause between two snapshot requests of one symbol; doubles up to `snapshot_retry_max_s`."""
    snapshot_retry_max_s: Seconds = 30
    refresh_below: Annotated[float, Meta(ge=0, le=1)] = 0.5
    """A new snapshot moves the known range when less than this share of the way to its edge is left; 0: never."""
    crossed_ms: Milliseconds = 1_500
    behind_ms: Count = 2_000
    """A book that lacks what its stream brought longer ago than this is withheld as `behind`."""
    stale_ms: Count = 30_000
    """A book whose stream brought nothing for this long is withheld, unless a line's sockets are known to be alive."""


class HistorySettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """The book of every second (docs/keys.md, `history:{S}`)."""

    enabled: bool = True
    hours: Annotated[float, Meta(gt=0)] = 24
    levels: Annotated[int, Meta(ge=1, le=5_000)] = 1_000
    """Levels per side at the start of a block; beyond the last of them the history says "unknown"."""
    write_ms: Annotated[int, Meta(ge=100, le=60_000)] = 5_000
    """Least pause between two writes of the block under way; newer seconds are folded from the raw stream."""
    block_s: Annotated[int, Meta(ge=5, le=60)] = 60
    """Seconds of a block."""


class TradeSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """Folding trades into windows."""

    retention_ms: Count = 86_400_000
    """How long a trade stays in `trades:{S}:latest`."""
    latest_max: Number = 0
    """Trades that each `trades:{S}:latest` may hold, whatever their age; 0: any number."""
    member: Literal["json", "packed"] = "json"
    """How trades stand in `trades:{S}:latest`: JSON, or packed in less than half the memory (docs/keys.md)."""
    read_count: Count = 500
    gather_ms: Milliseconds = 100
    close_by_clock: bool = True
    """Close quiet windows by the clock; off while replaying, where the clock is another day's."""
    close_grace_ms: Milliseconds = 1_000
    repair_timeout_s: Seconds = 10
    repair_attempts: Count = 40
    repair_for_s: Seconds = 600
    """How long missing trades are asked for at least while REST refuses, fails or has nothing from there on, whatever
    `repair_attempts` says; but no longer than half of `streams.trades_ms`, which holds what follows."""
    bars_kept: dict[str, Number] = field(
        default_factory=lambda: {
            "100ms": 36_000,
            "1m": 10_080,
            "5m": 8_640,
            "15m": 8_640,
            "1h": 8_760,
            "4h": 4_380,
            "1d": 3_650,
        }
    )
    """Closed windows kept per interval."""


class KeeperSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """Symbol information, trimming and health."""

    info_s: Seconds = 300
    audit_s: Seconds = 60
    """Least pause between two audits of one symbol (a REST snapshot compared with the book); 0: no audits."""
    audit_weight_share: Annotated[float, Meta(gt=0, le=0.5)] = 0.1
    """Part of the exchange's weight limit a minute that audits may use."""
    audit_wait_s: Seconds = 10
    """How long an audit waits for the stream and the checkpoint to reach its snapshot."""
    audit_confirm_s: Seconds = 5
    """Pause after a first difference until a second snapshot shall confirm it."""
    disk_low_mb: Number = 1024
    """Free space below which the log, the metrics and `fleet status` say that the disk of the run directory is filling;
    0: never."""
    trades_silence_s: Seconds = 10
    """A trade stream silent this long, and four times longer than its longest recent pause, is compared with the trades
    the exchange has; one request a venue every 10 s at most. 0: never."""
    open_interest_s: Seconds = 60
    """Least pause between two requests of one symbol's open interest, where `channels` name it and only REST has it;
    longer where `audit_weight_share` of the weight limit does not allow that many. 0: never."""
    audits_kept: Count = 1_000
    """Entries kept in each `audit:{S}`."""


class MetricsSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """Where each worker serves `/metrics`."""

    host: str = "127.0.0.1"
    base_port: Port = 0
    """First port; each worker takes a fixed one above it (docs/metrics.md). 0: any free port, told in its heartbeat."""


class ExchangeSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """The simulated exchange, run only where `enabled`."""

    enabled: bool = False
    host: str = "127.0.0.1"
    port: Port = 7400
    seed: int = 20_261_120
    rate_scale: Annotated[float, Meta(gt=0)] = 1.0
    spot_symbols: list[str] = field(default_factory=list)
    usdm_symbols: list[str] = field(default_factory=list)
    flavours: dict[str, Port] = field(
        default_factory=lambda: {
            "okx": 0,
            "bybit": 0,
            "kraken": 0,
            "coinbase": 0,
            "bitfinex": 0,
            "bitstamp": 0,
        }
    )
    """Port of each other exchange that it plays besides Binance, with the symbols of the venues of that exchange, else
    some of its own; 0: it does not."""
    faults: list[str] = field(default_factory=list)
    """What goes wrong from the start: texts such as `lose stream=*@depth* share=0.01` (`fleet fault --kinds`)."""


class Settings(Struct, forbid_unknown_fields=True, kw_only=True):
    """Everything that can be set."""

    fleet: FleetSettings = field(default_factory=FleetSettings)
    redis: RedisSettings = field(default_factory=RedisSettings)
    venues: dict[str, VenueSettings]
    processes: ProcessSettings = field(default_factory=ProcessSettings)
    ingest: IngestSettings = field(default_factory=IngestSettings)
    streams: StreamSettings = field(default_factory=StreamSettings)
    books: BookSettings = field(default_factory=BookSettings)
    orders: OrderSettings = field(default_factory=OrderSettings)
    history: HistorySettings = field(default_factory=HistorySettings)
    trades: TradeSettings = field(default_factory=TradeSettings)
    keeper: KeeperSettings = field(default_factory=KeeperSettings)
    archive: ArchiveSettings = field(default_factory=ArchiveSettings)
    postgres: PostgresSettings = field(default_factory=PostgresSettings)
    alerts: AlertSettings = field(default_factory=AlertSettings)
    analytics: AnalyticsSettings = field(default_factory=AnalyticsSettings)
    api: ApiSettings = field(default_factory=ApiSettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    exchange: ExchangeSettings = field(default_factory=ExchangeSettings)
