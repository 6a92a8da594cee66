"""The switches of the simulated exchange, beside its ground truth."""

from __future__ import annotations

from typing import Any

import aiohttp
import msgspec

from workers.errors import CommandError
from workers.verification.truth_source import TruthSource


class ExchangeControl(TruthSource):
    """Ground truth, faults and connections of one simulated exchange."""

    async def _send(self, method: str, path: str, body: dict[str, Any]) -> Any:
        assert self._session is not None
        try:
            async with self._session.request(method, self.url + path, json=body) as response:
                answer = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise CommandError(f"The simulated exchange at {self.url} does not answer: {error!r}.") from error
        if response.status != 200:
            raise CommandError(f"{path} with {body} gave status {response.status}: {answer[:200].decode()}")
        return msgspec.json.decode(answer)

    async def resume(self) -> None:
        """Let the markets go on."""
        await self._ask("POST", "/control/resume")

    async def set_fault(self, text: str) -> int:
        """Switch a fault on; its number."""
        return int((await self._send("POST", "/control/faults", {"fault": text}))["id"])

    async def remove_fault(self, number: int) -> None:
        """Take a fault back, and send what it held back."""
        await self._ask("DELETE", "/control/faults", id=number)

    async def faults(self) -> dict[int, dict[str, Any]]:
        """The faults that are set, by number: `on`, `cases`, `hits`."""
        rows = (await self._ask("GET", "/control/faults"))["faults"]
        return {int(row["id"]): row for row in rows}

    async def connections(self) -> list[dict[str, Any]]:
        """The open websockets: `id`, `market`, `path`, `agent`, `streams`, `delivering`, `frames_out` …"""
        found: list[dict[str, Any]] = (await self._ask("GET", "/control/connections"))["connections"]
        return found
