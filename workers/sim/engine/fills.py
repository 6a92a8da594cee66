"""Single fills as the ground truth gives them where an exchange sends them one by one."""

from __future__ import annotations

from workers.sim.engine.history import Fill
from workers.sim.engine.symbols import Spelling


def fill_row(spelling: Spelling, fill: Fill) -> dict[str, object]:
    """A fill with the keys of an aggregate trade: `a`, `p`, `q`, `f`, `l`, `T`, `m`."""
    return {
        "a": fill.trade_id,
        "p": spelling.price(fill.price),
        "q": spelling.quantity(fill.quantity),
        "f": fill.trade_id,
        "l": fill.trade_id,
        "T": fill.time,
        "m": fill.buyer_is_maker,
    }
