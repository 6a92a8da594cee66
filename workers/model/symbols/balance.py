"""Which worker has which symbols, balanced by what they cost, with few moves: a symbol that moves is read anew.

    owners = deal(items, owners, loads, live)       # who has what now, whoever has died or come since it was planned
    moves = balance(owners, loads, live)            # what is worth moving

Everybody who knows the same computes the same. A cost is messages a second, and `BASE` for having the symbol at all.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

Item = tuple[str, str]
"""A venue and a symbol of it."""

BASE: Final = 0.2
"""Messages a second that a symbol costs besides those it has."""
UNEVEN: Final = 0.15
"""Only a worker that has this much more than it would in the best split gives any away, and only when it then has this
much less (both as a share of the best): loads that jitter move nothing."""
EVEN: Final = 0.05
"""Moves go on until the busiest worker is as near as this to the best split."""
IDLE: Final = 0.5
"""A worker with less than this share of the mean is given more, though no other one has much too much."""


PASSES: Final = 4
"""Within one of them an item moves once; a further one may untangle more."""


class Balance(NamedTuple):
    """How a split stands."""

    busiest: float
    """Load of the busiest worker, messages a second."""
    best: float
    """No split can have a busiest worker with less."""

    @property
    def skew(self) -> float:
        """By how much the busiest is above the best, as a share of it."""
        return self.busiest / self.best - 1 if self.best else 0.0


def cost(loads: Mapping[Item, float], item: Item) -> float:
    """What a symbol costs its owner, in messages a second."""
    return BASE + loads.get(item, 0.0)


def totals(owners: Mapping[Item, str], loads: Mapping[Item, float], live: Iterable[str]) -> dict[str, float]:
    """The load of each live worker."""
    found = dict.fromkeys(live, 0.0)
    for item, worker in owners.items():
        if worker in found:
            found[worker] += cost(loads, item)
    return found


def standing(owners: Mapping[Item, str], loads: Mapping[Item, float], live: Collection[str]) -> Balance:
    """How far from the best possible split this one is, at the most: the best is the mean, or the largest symbol."""
    found = totals(owners, loads, live)
    largest = max((cost(loads, item) for item in owners), default=0.0)
    return Balance(max(found.values(), default=0.0), max(sum(found.values()) / max(1, len(found)), largest))


def deal(
    items: Iterable[Item], owners: Mapping[Item, str], loads: Mapping[Item, float], live: Collection[str]
) -> dict[Item, str]:
    """The owner of each item: the planned one while it lives, else whoever has least, the costliest items first.

    Cost: O(items x workers) where something is to be dealt.
    """
    dealt: dict[Item, str] = {}
    left = []
    for item in items:
        owner = owners.get(item)
        if owner is not None and owner in live:
            dealt[item] = owner
        else:
            left.append(item)
    if left and live:
        load = totals(dealt, loads, sorted(live))
        for item in sorted(left, key=lambda item: (-cost(loads, item), item)):
            worker = min(load, key=lambda name: (load[name], name))
            dealt[item] = worker
            load[worker] += cost(loads, item)
    return dealt


def balance(
    owners: Mapping[Item, str], loads: Mapping[Item, float], live: Collection[str]
) -> dict[Item, str]:
    """The items to move, each with its new owner, those that help most first; none where it is not worth it.

    Cost: O(moves x items log items), and O(items) where nothing is to be done.
    """
    before = _Split(owners, loads, live)
    # who has just come is idle: it takes a part of each, even if none has much too much
    is_idle = before.lightest < IDLE * before.mean
    if before.standing.skew <= UNEVEN and not is_idle:
        return {}
    after = dict(owners)
    for _ in range(PASSES):
        split = _Split(after, loads, live)
        while split.standing.skew > EVEN and split.improve():
            pass
        after |= split.moves
        if not split.moves or split.standing.skew <= EVEN:
            break
    anew = _dealt_anew(owners, loads, live)
    if split.standing.busiest - standing(anew, loads, live).busiest > UNEVEN / 2 * before.standing.best:
        after = anew  # a few large items, which single moves do not untangle
    made = _Split(after, loads, live)
    gained = before.standing.busiest - made.standing.busiest
    is_filled = is_idle and made.lightest - before.lightest >= IDLE / 2 * made.mean
    if gained < UNEVEN * before.standing.best and not is_filled:
        return {}
    moves = [item for item, worker in after.items() if owners[item] != worker]
    return {item: after[item] for item in sorted(moves, key=lambda item: (-cost(loads, item), item))}


def _dealt_anew(
    owners: Mapping[Item, str], loads: Mapping[Item, float], live: Collection[str]
) -> dict[Item, str]:
    """The split of a first deal, its parts given to those who have most of them already."""
    parts: dict[str, list[Item]] = {worker: [] for worker in sorted(live)}
    for item, name in deal(owners, {}, loads, live).items():
        parts[name].append(item)
    free: list[str] = sorted(live)
    dealt: dict[Item, str] = {}
    for part in sorted(parts.values(), key=lambda part: (-sum(cost(loads, item) for item in part), part)):
        kept = totals({item: owners[item] for item in part}, loads, free)
        worker = max(free, key=lambda name: kept[name])
        free.remove(worker)
        dealt |= dict.fromkeys(part, worker)
    return dealt


class _Split:
    """A split that is being made better."""

    def __init__(
        self, owners: Mapping[Item, str], loads: Mapping[Item, float], live: Collection[str]
    ) -> None:
        self.moves: dict[Item, str] = {}
        self._load = totals(owners, loads, sorted(live))
        self.mean = sum(self._load.values()) / max(1, len(self._load))
        self._best = standing(owners, loads, live).best
        self._items: dict[str, list[tuple[float, Item]]] = {worker: [] for worker in self._load}
        """By worker, what it may give away, the cheapest first; what has moved stays."""
        for item, worker in owners.items():
            self._items[worker].append((cost(loads, item), item))
        for items in self._items.values():
            items.sort()

    @property
    def standing(self) -> Balance:
        return Balance(max(self._load.values(), default=0.0), self._best)

    @property
    def lightest(self) -> float:
        return min(self._load.values(), default=0.0)

    def improve(self) -> bool:
        """Make the busiest worker lighter by one move, or one exchange of two items; False where none can."""
        giver = max(self._load, key=lambda name: (self._load[name], name))
        for taker in sorted(self._load, key=lambda name: (self._load[name], name)):
            gap = self._load[giver] - self._load[taker]
            found = self._best_step(giver, taker, gap)
            if found is not None:
                there, back = found
                self._move(there, giver, taker)
                if back is not None:
                    self._move(back, taker, giver)
                return True
        return False

    def _best_step(
        self, giver: str, taker: str, gap: float
    ) -> tuple[tuple[float, Item], tuple[float, Item] | None] | None:
        """What brings two workers nearest to each other: one item, or one against another where that is much nearer."""
        half, slack = gap / 2, EVEN * self._best
        best: tuple[float, tuple[float, Item], tuple[float, Item] | None] | None = None
        for there in _around(self._items[giver], half):
            if 0 < there[0] < gap and (best is None or abs(there[0] - half) < best[0]):
                best = (abs(there[0] - half), there, None)
        if best is None or best[0] > slack:
            for there in reversed(self._items[giver]):
                for back in _around(self._items[taker], there[0] - half):
                    net = there[0] - back[0]
                    if slack / 4 < net < gap and (best is None or abs(net - half) < best[0] - slack):
                        best = (abs(net - half), there, back)
        return None if best is None else best[1:]

    def _move(self, moved: tuple[float, Item], giver: str, taker: str) -> None:
        self._items[giver].remove(moved)  # and not to the taker's: once is enough
        self.moves[moved[1]] = taker
        self._load[giver] -= moved[0]
        self._load[taker] += moved[0]


def _around(items: Sequence[tuple[float, Item]], wanted: float) -> Sequence[tuple[float, Item]]:
    """The items whose costs are next to one."""
    place = bisect_left(items, (wanted, ("", "")))
    return items[max(0, place - 1) : place + 1]
