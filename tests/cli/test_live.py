"""What `fleet live` says while it runs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import fakeredis
import pytest

from workers.cli import live
from workers.cli.live import chosen_symbols
from workers.errors import UnknownVenue
from workers.settings.loading import load


class Fleet:
    """A fleet whose programs all run, until it was looked at a few times."""

    def __init__(self, home: Path, looks: int) -> None:
        self.home = home
        self.effective = SimpleNamespace(settings=load(Path("default.toml"), {}).settings)
        self.looks = looks

    def revive(self) -> None:
        """It never ends by itself."""

    @property
    def ended(self) -> bool:
        self.looks -= 1
        return self.looks < 0

    @staticmethod
    def troubles() -> list[str]:
        return []


@pytest.mark.parametrize(("messages", "told"), [(0, 1), (1, 0)])
async def test_an_exchange_that_sends_nothing_is_told_once(
    messages: int,
    told: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    server = fakeredis.FakeServer()
    monkeypatch.setattr(live, "connect", lambda _: fakeredis.FakeAsyncRedis(server=server))
    monkeypatch.setattr(live, "REFRESH_S", 0.001)
    monkeypatch.setattr(live, "TROUBLE_AFTER_S", 0.001)
    for _ in range(messages):
        await fakeredis.FakeAsyncRedis(server=server).xadd("raw:{BTCUSDT}:depth", {"data": "{}"})
    await live._watch(Fleet(tmp_path, looks=6))  # type: ignore[arg-type] -- what it looks at is here
    said = capsys.readouterr().err
    assert said.count("exchange: no message has come") == told
    assert ("fleet doctor" in said) == bool(told)


def test_symbols_go_to_their_venues_however_they_are_written():
    chosen = chosen_symbols(["btcusdt", "Spot:ethusdt", "BTCUSDT", "币usdt"], ["usdm", "spot"])
    assert chosen == {
        "FLEET_VENUES__USDM__SYMBOLS": "BTCUSDT,币USDT",
        "FLEET_VENUES__SPOT__SYMBOLS": "ETHUSDT",
    }
    with pytest.raises(UnknownVenue, match="usdm, spot"):
        chosen_symbols(["kraken:BTCUSD"], ["usdm", "spot"])
