"""Settings of an exchange that is small enough for a test, and when it begins."""

START_MS = 1_790_000_000_000
SMALL = {
    "port": 0,
    "spot_symbols": ("BTCUSDT", "币安人生USDT"),
    "usdm_symbols": ("BTCUSDT", "1000SHIBUSDT", "币安人生USDT"),
    "levels_per_side": 300,
    "rate_scale": 3.0,
}
