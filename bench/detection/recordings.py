"""What the level-3 detectors find in a recording of single orders."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from detection.market import SIDES
from workers.model.analytics.flicker import FlickerParameters, OrderFlicker
from workers.model.analytics.icebergs import IcebergDetector, IcebergParameters
from workers.model.analytics.order_flow import order_events
from workers.model.level3.events import OrderMessage
from workers.model.level3.sync import OrderSync
from workers.venues.bitstamp.orders import LIVE, order_message


def read_recording(path: Path) -> Iterator[OrderMessage]:
    """Bitstamp's `live_orders`, a frame a line."""
    for line in path.read_bytes().splitlines():
        if b'"order_' in line[:2000] and b"subscription" not in line[:60]:
            yield order_message("bitstamp", line)


def report_recording(path: Path) -> None:
    sync, happened, told = OrderSync("recording", LIVE), Counter[str](), []
    icebergs, flicker = IcebergDetector(IcebergParameters()), OrderFlicker(FlickerParameters())
    first = last = 0
    for message in read_recording(path):
        first, last = first or message.time_us, message.time_us
        for event in order_events(sync.book, message, moves=LIVE.moves):
            happened[event.what] += 1
            told += icebergs.on_event(event)
            flicker.on_event(event)
        sync.on_message(message)
    print(f"{path.name}: {(last - first) / 1e6:.1f} s, {dict(happened)}")
    candidates = sorted(icebergs._chains.values(), key=lambda chain: -chain.refills)[:3]
    for chain in candidates:
        print(
            f"  most refilled: {chain.side} {chain.price} refills {chain.refills} confidence {chain.confidence:.3f}"
        )
    for side in SIDES:
        shown, times = flicker.counter.counts(side, last)
        print(
            f"  {side}: {shown} orders near the top, {times} withdrawn within {FlickerParameters().lived_ms:.0f} ms"
        )
    print(
        "  told:", json.dumps([f"{event.kind} {event.side} {event.price} {event.figures}" for event in told])
    )
