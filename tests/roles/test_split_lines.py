"""Lines of several processes: each follows its share, and one that is killed costs its own symbols alone."""

from __future__ import annotations

from in_process import KEYS, fleet_of, settle

from workers.model.symbols.shares import Share
from workers.runtime.tasks import end
from workers.store.keys import plan

SYMBOLS = ["SIM000USDT", "SIM001USDT", "SIM002USDT", "SIM003USDT", "SIM004USDT"]
SHARES = {number: [symbol for symbol in SYMBOLS if Share(number, 2).has(symbol)] for number in range(2)}


async def test_a_process_of_a_line_that_is_killed_costs_its_symbols_on_its_line_alone(
    real_server: str,
) -> None:
    assert all(SHARES.values())
    async with fleet_of(real_server, symbols=SYMBOLS, rate_scale=4.0) as fleet:
        fleet.be_patient()
        for line, number in (("a", 0), ("a", 1), ("b", 1)):
            fleet.start(f"ingest-{line}", f"{line}-{number}", number, 2)
        fleet.settings.processes.balance_s = 0.5
        for number in (1, 2):
            fleet.start("books", f"books-{number}")
            fleet.start("trades", f"trades-{number}")
        await fleet.until(fleet.all_shown)

        async def told(name: str) -> dict[str, str]:
            workers = await fleet.processes["books-1"].registry.workers(["ingest-a", "ingest-b"])
            return next((one for one in workers if one["name"] == name), {})

        for name in ("a-0", "a-1", "b-1"):
            found, number = await told(name), int(name[-1])
            assert (found["process"], found["processes"]) == (str(number), "2")
            assert int(found["symbols"]) == len(SHARES[number])

        async def newest() -> dict[str, bytes]:
            return {
                symbol: (await fleet.client.xrevrange(KEYS.raw(symbol, "depth"), count=1))[0][0]
                for symbol in SYMBOLS
            }

        async def lines_since(ids: dict[str, bytes]) -> dict[str, set[bytes]]:
            found = {}
            for symbol, last in ids.items():
                entries = await fleet.client.xrange(KEYS.raw(symbol, "depth"), f"({last.decode()}")
                found[symbol] = {fields[b"line"] for _, fields in entries}
            return found

        await end([fleet.tasks.pop("a-1")])
        killed = await newest()

        async def all_go_on() -> bool:
            return all((await lines_since(killed)).values())

        await fleet.until(all_go_on, 60)
        since = await lines_since(killed)
        assert [since[symbol] for symbol in SHARES[0]] == [{b"a"}] * len(SHARES[0])
        assert [since[symbol] for symbol in SHARES[1]] == [{b"b"}] * len(SHARES[1])
        fleet.start("ingest-a", "a-1-again", 1, 2)

        async def it_is_back() -> bool:
            found = await told("a-1-again")
            return int(found.get("appended", 0)) + int(found.get("repeats", 0)) > len(SHARES[1])

        await fleet.until(it_is_back, 60)

        async def shares_are_planned() -> bool:  # of workers that give and take by it
            return await fleet.client.exists(plan("books"), plan("trades")) == 2

        await fleet.until(shares_are_planned, 60)
        await settle(fleet)
        await fleet.check_books()
        await fleet.check_trades()
        for symbol in SYMBOLS:
            assert await fleet.client.xlen(KEYS.gaps(symbol)) == 0
