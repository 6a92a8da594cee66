"""What `fleet run postgres` says when it cannot or need not work; the DSN is in none of it."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from workers.errors import SettingsError
from workers.operations import postgres_program
from workers.settings.loading import parse

VENUE = '[venues.usdm]\nmarket = "usdm"\nsymbols = ["BTCUSDT"]\n'
DSN = "FLEET_POSTGRES__DSN"


@pytest.fixture(autouse=True)
def _logs_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a program sets of its logs is for its whole process."""
    monkeypatch.setattr(postgres_program, "configure_logging", lambda *_: None)


def test_it_ends_at_once_where_it_is_not_wanted() -> None:
    with capture_logs() as logs:
        assert postgres_program.run_postgres(parse(VENUE, "f.toml", {}).settings, 0) == 0
    assert [entry["event"] for entry in logs] == ["postgres_not_wanted"]


@pytest.mark.parametrize(
    ("dsn", "said"), [("", "names no database"), ("postgres://u:se%zzcret@h/x", "no connection string")]
)
def test_it_does_not_start_without_a_database(dsn: str, said: str) -> None:
    pytest.importorskip("psycopg", reason="the extra 'postgres' is not installed")
    settings = parse(VENUE, "f.toml", {"FLEET_POSTGRES__ENABLED": "true", DSN: dsn}).settings
    with capture_logs() as logs:
        assert postgres_program.run_postgres(settings, 0) == 2
    assert said in logs[0]["error"]
    assert "zzcret" not in str(logs)


def test_the_database_is_told_by_the_environment_alone_and_never_shown() -> None:
    with pytest.raises(SettingsError, match=f"set {DSN} in the environment"):
        parse(f'{VENUE}[postgres]\ndsn = "postgresql://u:secret@h/x"\n', "f.toml", {})
    effective = parse(VENUE, "f.toml", {DSN: "postgresql://u:secret@h/x"})
    assert [value for name, value, _ in effective.rows() if name == "postgres.dsn"] == ["***"]


async def test_a_database_that_refuses_is_logged_without_the_password() -> None:
    pytest.importorskip("psycopg", reason="the extra 'postgres' is not installed")
    from workers.postgres.writer import Writer

    settings = parse(VENUE, "f.toml", {DSN: "postgresql://fleet:s3cr3t@127.0.0.1:1/market"}).settings
    writer = Writer(settings.postgres, {}, {}, lambda _: None, lambda _: None)
    with capture_logs() as logs:
        await writer._round_or_wait()
    assert writer.away_s > 0
    assert [entry["event"] for entry in logs] == ["postgres_away"]
    assert "s3cr3t" not in str(logs)
