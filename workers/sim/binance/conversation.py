"""Binance's side of one socket: streams of the URL, control requests, pings and the frame limit."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, cast

from workers.sim.binance.protocol import ControlSession, FrameLimiter, Heartbeat, RequestError
from workers.sim.binance.symbols import Market
from workers.sim.engine.flavour import Close, Output, Ping, Root, UpgradeRefusedError
from workers.sim.engine.subscriptions import Subscriptions
from workers.sim.engine.topics import Event
from workers.sim.settings import SimSettings

POLICY_VIOLATION: Final = 1008


class BinanceConversation:
    """One client of Binance; raises UpgradeRefusedError when the streams of its URL cannot be subscribed to."""

    def __init__(
        self, root: Root, settings: SimSettings, subscriptions: Subscriptions, named: list[str], now_s: float
    ) -> None:
        spot = root.market == "spot"
        self._subscriptions = subscriptions
        self._limiter = FrameLimiter(
            settings.spot_frames_per_second if spot else settings.usdm_frames_per_second
        )
        self._heartbeat = Heartbeat(
            settings.spot_ping_s if spot else settings.usdm_ping_s,
            settings.spot_pong_timeout_s if spot else settings.usdm_pong_timeout_s,
            now_s,
        )
        self._session = ControlSession(
            cast("Market", root.market),
            root.combined,
            settings.max_streams,
            self._attach,
            subscriptions.detach,
            self._check_streams,
        )
        try:
            self._session.subscribe(named)
        except RequestError as error:
            raise UpgradeRefusedError(error.message) from None

    @property
    def streams(self) -> Collection[str]:
        """The streams that are subscribed to, also those that there are not."""
        return self._session.streams

    @property
    def next_tick_s(self) -> float:
        """When the next ping is due or a pong is overdue."""
        return self._heartbeat.next_event_s

    def _attach(self, name: str) -> None:
        topic = self._subscriptions.find(name)
        if topic is not None:
            self._subscriptions.attach(name, topic)

    def _check_streams(self, names: Sequence[str]) -> None:
        """Refuse a request as a whole for one stream that a fault names."""
        refused = self._subscriptions.refused(names)
        if refused is not None:
            name, fault = refused
            raise RequestError(int(fault.value) or 2, f"Invalid request: stream {name} is not available")

    def opened(self, now_s: float, clock_ms: int) -> Iterable[Output]:
        """Nothing: the exchange waits."""
        return ()

    def admit(self, now_s: float) -> Close | None:
        """Count a frame, pings and pongs too."""
        return None if self._limiter.admit(now_s) else Close(POLICY_VIOLATION, "Too many requests")

    def received(self, text: str, now_s: float, clock_ms: int) -> Iterable[Output]:
        """The reply to a control request."""
        return (self._session.handle(text),)

    def ponged(self, payload: bytes) -> None:
        """Take a pong."""
        self._heartbeat.pong(payload)

    def frame(self, event: Event, deflated: bool) -> bytes:
        """The event as it is, or with the name of its stream around it."""
        return event.frame(_combined if self._session.combined else None, deflated)

    def missed(self, event: Event) -> None:
        """Frames have no numbers here."""

    def wrote(self, now_s: float) -> None:
        """What is sent proves nothing here: only pongs do."""

    def tick(self, now_s: float, clock_ms: int) -> Iterable[Output]:
        """A ping, or the end for a client whose pong is overdue."""
        if self._heartbeat.expired(now_s):
            return (Close(POLICY_VIOLATION, "Pong timeout"),)
        payload = self._heartbeat.ping(now_s, clock_ms)
        return () if payload is None else (Ping(payload),)

    def shutdown_notice(self, clock_ms: int) -> Event:
        """`serverShutdown`, in the framing in use (Binance docs)."""
        return Event("!serverShutdown", f'{{"e":"serverShutdown","E":{clock_ms}}}')

    def describe(self) -> dict[str, Any]:
        """Whether frames are combined."""
        return {"combined": self._session.combined}


def _combined(event: Event) -> str:
    return f'{{"stream":"{event.stream}","data":{event.payload}}}'
