"""What venues lack: a class for each, with the answers of one that lacks it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from workers.errors import MalformedFrame
from workers.model.events import BookTicker, Snapshot, Trade
from workers.venues.channels import ExtraChannel
from workers.venues.interface import Announcements, Stretch
from workers.venues.order_feed import OrderFeed
from workers.venues.requests import RestRequest


class NoChannels:
    """A venue of which no further channels are followed."""

    channels: Mapping[str, ExtraChannel] = {}


class NoOrders:
    """A venue that tells no single orders, or whose orders are not followed."""

    order_feed: OrderFeed | None = None


class NoAnnouncements:
    """A venue whose list of symbols is to be asked for: no stream tells its changes."""

    def announcements(self) -> Announcements | None:
        """None."""
        return None


class NoLimitsTold:
    """A venue whose replies say neither what weight was used nor until when nothing may be asked."""

    used_weight_header = ""

    def banned_until_ms(self, message: str) -> int:
        """0: a time is never named."""
        return 0


class NoStretches:
    """A venue whose trade ids are consecutive: they show which trades are missing, and REST is asked by them."""

    def stretch_request(
        self, symbol: str, stretch: Stretch, rows: Sequence[Trade], now_ms: int
    ) -> RestRequest | None:
        """None."""
        return None


class NoBestLevels:
    """A venue whose best levels have no stream that is followed."""

    name: str

    def ticker(self, data: bytes) -> BookTicker:
        """None is subscribed to. Raises: MalformedFrame."""
        raise MalformedFrame(self.name, "best levels", "there is no stream of them", data)


class NoRestBooks(NoBestLevels):
    """A venue whose REST books have nothing to find their place in the stream by; the stream brings its own."""

    def snapshot_request(self, symbol: str, levels: int | None = None) -> RestRequest | None:
        """None."""
        return None

    def snapshot(self, symbol: str, body: bytes, levels: int | None = None) -> Snapshot:
        """Never asked for. Raises: MalformedFrame."""
        raise MalformedFrame(self.name, "depth snapshot", "books begin in band", body)
