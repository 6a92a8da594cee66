"""What can be set of single orders (docs/level3.md): the role `orders`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from workers.settings.numbers import Count, Milliseconds


class OrderSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """Folding single orders into level-3 books, of the venues whose `orders` is on."""

    raw_ms: Count = 300_000
    """How much older than its newest an entry of `raw:{S}:orders` may become."""
    publish_ms: Count = 100
    """Least pause between two publications of one book."""
    levels: Annotated[int, Meta(ge=1, le=1_000)] = 10
    """Best levels a side in `orders:{S}:top`."""
    heads: Annotated[int, Meta(ge=0, le=100)] = 5
    """Orders from the head of each of their queues."""
    top_entries: Count = 200
    """Publications kept, about, in `orders:{S}:top`."""
    max_orders: Count = 1_000_000
    """A book of more orders is let go: one without some of its orders would be wrong."""
    read_count: Count = 500
    """Entries read from one stream at once."""
    gather_ms: Milliseconds = 10
    """Longest pause between two rounds of reading while there is something to read."""
    commit_ms: Count = 3_000
    """Least pause between two checkpoints of a book that changes; longer of a large one, so that they take a
    twentieth of the time at most."""
    seed_delay_ms: Milliseconds = 1_500
    """Pause between the first message of a symbol, or the loss of its book, and the request for all its orders, which
    REST serves late."""
    seed_timeout_s: Annotated[float, Meta(gt=0)] = 30
    """Time that request may take once it is sent."""
    seed_retry_s: Annotated[float, Meta(gt=0)] = 5
    """Least pause between two of them for one symbol; doubles up to `seed_retry_max_s`."""
    seed_retry_max_s: Annotated[float, Meta(gt=0)] = 120
    """Longest pause between two of them."""
    compare_ms: Milliseconds = 250
    """Pause between two comparisons of the best prices with those of the book of levels; 0: none."""
    behind_ms: Count = 3_000
    """A book that lacks what its stream brought longer ago than this is withheld as `behind`."""
    stale_ms: Count = 60_000
    """A book whose stream brought nothing for this long is withheld."""
