"""What the world does to single orders, step by step, and what it expects besides the truth."""

from __future__ import annotations

from typing import Final

from workers.conformance.orders.world import OrdersWorld

WHILE_S: Final = 4.0
TAKEOVERS: Final = 20
LATE_MS: Final = 3_000
RESET_S: Final = 20.0
"""Numbers that went back are believed once they are so much newer (`ingest.id_reset_ms`), and a seed takes its time."""
TOLD_MS: Final = 60
"""A new order is told so soon."""


def calm(world: OrdersWorld) -> None:
    """Nothing goes wrong."""
    world.start()
    world.run(WHILE_S)
    world.expect(not world.reasons, f"the book left sync for {world.reasons}.")


def lost(world: OrdersWorld) -> None:
    """A message is sent to nobody."""
    world.start()
    world.fault("lose count=1")
    world.back()
    world.expect(len(world.reasons) == 1, f"the book left sync for {world.reasons}, not once.")


def stale_seed(world: OrdersWorld) -> None:
    """A message is sent to nobody, and for a while REST gives the orders of before the stream that is followed now."""
    world.start()
    world.fault("snapshot_stale", of_orders=False)
    world.fault("lose count=1")
    world.until("the book is lost", lambda: bool(world.reasons))
    world.run(WHILE_S)
    world.expect(not world.sync.synced, "it began with orders of long ago.")
    world.remove()
    world.until("the book is in sync anew", lambda: world.sync.trusted)
    world.expect(len(world.reasons) == 1, f"the book left sync for {world.reasons}, not once.")


def seed_ahead(world: OrdersWorld) -> None:
    """A message is sent to nobody, and REST gives the orders of a time that the stream, which is late, comes to."""
    world.compares_level2 = False
    world.start()
    world.fault(f"delay value={LATE_MS}")
    world.fault("lose count=1")
    world.back()
    world.run(WHILE_S)
    world.expect(len(world.reasons) == 1, f"the book left sync for {world.reasons}, not once.")


def numbered_anew(world: OrdersWorld) -> None:
    """The exchange's numbers begin anew, and nothing else shows it."""
    world.compares_level2 = False
    world.start()
    world.fault("book_ids", of_orders=False)
    world.back(RESET_S)
    world.expect(len(world.reasons) == 1, f"the book left sync for {world.reasons}, not once.")


def doubled(world: OrdersWorld) -> None:
    """Every message comes twice, and old ones come again."""
    world.start()
    world.fault("duplicate")
    world.fault("repeat share=0.5")
    world.run(WHILE_S)
    world.expect(not world.reasons, f"the book left sync for {world.reasons}.")


def swapped(world: OrdersWorld) -> None:
    """Messages come after those that follow them."""
    world.start()
    world.fault("swap share=0.2")
    world.run(WHILE_S)
    world.expect(not world.reasons, f"the book left sync for {world.reasons}.")


def doubled_unnumbered(world: OrdersWorld) -> None:
    """Messages without numbers come twice, and old ones come again: the book is right, or out of sync."""
    _disturbed(world, "duplicate share=0.3", "repeat share=0.3")


def swapped_unnumbered(world: OrdersWorld) -> None:
    """Messages without numbers come after those that follow them: the book is right, or out of sync."""
    _disturbed(world, "swap share=0.2")


def _disturbed(world: OrdersWorld, *faults: str) -> None:
    world.start()
    for fault in faults:
        world.fault(fault)
    world.until("the book is lost", lambda: bool(world.reasons))
    world.run(WHILE_S)
    world.remove()
    world.until("the book is in sync anew", lambda: world.sync.trusted)


def old_token(world: OrdersWorld) -> None:
    """The token that was shown is worth nothing any more when the book has to begin anew."""
    world.start()
    world.fault("old_token", of_orders=False)
    world.fault("lose count=1")
    world.back()
    world.expect(not world.refusals.names(), f"{world.refusals.names()} were refused.")


def windowed(world: OrdersWorld) -> None:
    """Orders fall out of the window that the exchange shows, and come back into it."""
    world.start()
    world.run(2 * WHILE_S)
    world.expect(not world.reasons, f"the book left sync for {world.reasons}.")
    wrong = world.wrong_ages(TOLD_MS)
    world.expect(not wrong, f"{wrong} came back into view and pass for new.")


def wrong_checksum(world: OrdersWorld) -> None:
    """Checksums are wrong until the book is lost for it."""
    world.start()
    world.fault("checksum")
    world.until("the book is lost", lambda: bool(world.reasons))
    world.remove()
    world.until("the book is in sync anew", lambda: world.sync.trusted)
    world.expect(world.reasons == ["checksum"], f"the book left sync for {world.reasons}.")


def taken_over(world: OrdersWorld) -> None:
    """One owner after the other goes on from the checkpoint of the one before."""
    world.start()
    for _ in range(TAKEOVERS):
        world.run(0.2)
        world.take_over()
    world.expect(not world.reasons, f"the book left sync for {world.reasons}.")
    world.expect(
        world.sync.counts["syncs"] == 1, f"it came into sync {world.sync.counts['syncs']} times, not once."
    )


def phantoms_across(world: OrdersWorld) -> None:
    """The seed names an order that is none and crosses the book."""
    world.compares_level2 = False
    _phantom(world, "snapshot_phantom value=5000 count=1")
    world.expect(world.sync.counts["purged_crossing"] >= 1, "no order was purged for crossing.")


def phantoms_inside(world: OrdersWorld) -> None:
    """The seed names an order that is none, between the best prices."""
    _phantom(world, "snapshot_phantom value=1 count=1")
    purged = world.sync.counts["purged_level2"] + world.sync.counts["purged_crossing"]
    world.expect(purged >= 1, "no order was purged.")


def _phantom(world: OrdersWorld, fault: str) -> None:
    world.fault(fault, of_orders=False)
    world.until("the book is in sync", lambda: world.sync.synced)
    world.problems.clear()  # with it the book is wrong until the rules have seen it
    world.until("the phantom is purged", lambda: _purged(world) > 0)
    world.problems.clear()
    world.run(WHILE_S)
    world.expect(not world.reasons, f"the book left sync for {world.reasons}.")


def _purged(world: OrdersWorld) -> int:
    return world.sync.counts["purged_level2"] + world.sync.counts["purged_crossing"]
