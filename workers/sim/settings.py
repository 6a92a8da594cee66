"""Settings of the simulated exchange: flat, TOML-typed, validated when built.

Defaults are what production does (Binance docs and wire captures of 2026); tests shorten the intervals.
"""

from __future__ import annotations

import msgspec

from workers.sim.engine.faults import Fault

DEFAULT_USDM_SYMBOLS = (
    "BTCUSDT",
    "ETHUSDT",
    "SOLUSDT",
    "1000SHIBUSDT",
    "币安人生USDT",
    "BTCUSDT_261225",
)
DEFAULT_SPOT_SYMBOLS = ("BTCUSDT", "ETHUSDT", "BNBBTC", "PEPEUSDT", "币安人生USDT")


class SimSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the simulated exchange lists, how fast it trades and how strict it is.

    Identity
        flavour: which exchange it plays (`workers.sim.flavours`).
        key: of the one user who may see what wants a key, where the exchange has such: the parts as it would give
            them, by `api_key`, `api_secret`, `api_passphrase`.
        seed: of every random draw; the same seed and the same start time give the same tape.
        host, port: where to listen; port 0 takes any free port.
    Markets
        symbols: listed symbols by market, as the exchange spells them; empty: the flavour's own. Of
            every flavour but Binance.
        spot_symbols, usdm_symbols: Binance's listed symbols, upper case; names not known get parameters derived
            from a seeded hash of the name.
        extra_spot, extra_usdm: how many `SIM000USDT`, `SIM001USDT`, … to list besides.
        rate_scale: multiplies every rate of changes and trades; 1 is the captured production rate.
        levels_per_side: price levels a book is kept near, fewer where prices have few ticks.
        jump_every_s: mean seconds between price jumps of 0.05–0.2 %; 0 turns jumps off.
        burst_every_s, burst_length_s, burst_factor: busy periods, when everything runs `burst_factor`
            times faster; `burst_every_s` 0 turns them off.
        off_book_share: share of USD-M orders that also print an INSURANCE_FUND or ADL trade; such
            trades take a trade id but are in no aggregate trade.
        tick_ms: how often the generator runs, ms.
        clock_offset_ms: exchange clock minus the clock of this machine.
    Websocket
        *_ping_s, *_pong_timeout_s: server ping interval and how long the echo may take.
        *_frames_per_second: inbound frames (ping and pong included) allowed in any second.
        lifetime_s: how long a connection may live.
        shutdown_delay_s: from the `serverShutdown` event to the close.
        max_streams: subscriptions per connection.
        max_inbound_frame_bytes: a longer client frame closes the connection with 1009.
        send_buffer_bytes: a subscriber that lets more than this pile up unread is dropped.
        connection_attempts, connection_window_s: upgrades allowed per address and market.
    REST
        spot_weight_limit, usdm_weight_limit: request weight per window of `weight_window_s`.
        ban_after_ignored: refused requests within one window that turn 429 into 418.
        ban_s: length of the first ban; each further one is twice as long, three days at most.
        snapshot_lag_ms, snapshot_refresh_ms: depth is served from a cache copied every
            `snapshot_refresh_ms` and visible `snapshot_lag_ms` later.
        agg_trade_horizon_s: how far back USD-M aggregate trades are served.
    Ground truth
        truth_changes: book changes remembered per symbol (16 bytes each), 100,000 at least.
    Faults
        faults: what goes wrong from the start, as texts such as `lose stream=*@depth* share=0.01`; the
            kinds are in `workers.sim.engine.faults`.
    """

    flavour: str = "binance"
    seed: int = 1
    host: str = "127.0.0.1"
    port: int = 8900
    key: dict[str, str] = {}

    symbols: dict[str, tuple[str, ...]] = {}
    spot_symbols: tuple[str, ...] = DEFAULT_SPOT_SYMBOLS
    usdm_symbols: tuple[str, ...] = DEFAULT_USDM_SYMBOLS
    extra_spot: int = 0
    extra_usdm: int = 0
    rate_scale: float = 1.0
    levels_per_side: int = 1300
    jump_every_s: float = 120.0
    burst_every_s: float = 60.0
    burst_length_s: float = 3.0
    burst_factor: float = 4.0
    off_book_share: float = 0.0
    tick_ms: int = 5
    clock_offset_ms: int = 0

    spot_ping_s: float = 20.0
    spot_pong_timeout_s: float = 60.0
    usdm_ping_s: float = 180.0
    usdm_pong_timeout_s: float = 600.0
    spot_frames_per_second: int = 5
    usdm_frames_per_second: int = 10
    lifetime_s: float = 86_400.0
    shutdown_delay_s: float = 10.0
    max_streams: int = 1024
    max_inbound_frame_bytes: int = 8192
    send_buffer_bytes: int = 8 * 1024 * 1024
    connection_attempts: int = 300
    connection_window_s: float = 300.0

    spot_weight_limit: int = 6000
    usdm_weight_limit: int = 2400
    weight_window_s: int = 60
    ban_after_ignored: int = 10
    ban_s: float = 120.0
    snapshot_lag_ms: int = 100
    snapshot_refresh_ms: int = 400
    agg_trade_horizon_s: float = 48 * 3600.0

    truth_changes: int = 2_000_000

    faults: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse values that cannot work, naming the setting."""
        positive = (
            "rate_scale", "levels_per_side", "burst_length_s", "burst_factor", "tick_ms",
            "spot_ping_s", "spot_pong_timeout_s", "usdm_ping_s", "usdm_pong_timeout_s",
            "spot_frames_per_second", "usdm_frames_per_second", "lifetime_s", "max_streams",
            "max_inbound_frame_bytes", "send_buffer_bytes", "connection_attempts", "connection_window_s",
            "spot_weight_limit", "usdm_weight_limit", "weight_window_s", "ban_after_ignored", "ban_s",
            "snapshot_refresh_ms", "agg_trade_horizon_s", "truth_changes",
        )  # fmt: skip
        for name in positive:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be greater than 0")
        for name in ("port", "extra_spot", "extra_usdm", "jump_every_s", "burst_every_s",
                     "off_book_share", "shutdown_delay_s", "snapshot_lag_ms"):  # fmt: skip
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")
        if self.levels_per_side < 50:
            raise ValueError("levels_per_side must be at least 50")
        if self.truth_changes < 100_000:
            raise ValueError("truth_changes must be at least 100000, or depth events would lose changes")
        if self.off_book_share > 1:
            raise ValueError("off_book_share must be at most 1")
        for text in self.faults:
            Fault.parse(text)

    def named(self, market: str, own: tuple[str, ...]) -> tuple[str, ...]:
        """The symbols of a market of another flavour than Binance, which has some of its own where none are named."""
        return self.symbols.get(market, ()) if self.symbols else own

    def listed(self, market: str) -> tuple[str, ...]:
        """All symbols of a market, the named ones first, none twice."""
        named = self.spot_symbols if market == "spot" else self.usdm_symbols
        extra = self.extra_spot if market == "spot" else self.extra_usdm
        return tuple(dict.fromkeys([*named, *(f"SIM{number:03d}USDT" for number in range(extra))]))
