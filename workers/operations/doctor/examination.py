"""Running all examinations and telling what they found."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from rich.markup import escape

from workers.operations.doctor.exchange import exchange_findings
from workers.operations.doctor.findings import Finding, Level
from workers.operations.doctor.machine import machine_findings
from workers.operations.doctor.server import server_findings
from workers.operations.running import running_fleet
from workers.operations.supervision import Supervisor
from workers.settings.loading import Effective
from workers.terminal.exit_codes import EXIT_DISAGREEMENT, EXIT_FINE
from workers.terminal.output import counted, out

STYLES: Final[dict[Level, str]] = {"ok": "green", "warning": "yellow", "problem": "bold red"}


def run_doctor(config: Path | None, *, offline: bool, as_json: bool) -> int:
    """Examine everything; 1 when there is a problem."""
    effective, supervisor = running_fleet(config)
    findings = asyncio.run(_examine(effective, supervisor, offline=offline))
    counts = {level: sum(finding.level == level for finding in findings) for level in STYLES}
    if as_json:
        rows = [finding._asdict() for finding in findings]
        out.write_json({**counts, "findings": rows})
    else:
        for finding in findings:
            _tell(finding)
        out.print(
            f"{counted(counts['problem'], 'problem')}, {counted(counts['warning'], 'warning')}, {counts['ok']} ok",
            highlight=False,
        )
    return EXIT_DISAGREEMENT if counts["problem"] else EXIT_FINE


async def _examine(effective: Effective, supervisor: Supervisor, *, offline: bool) -> list[Finding]:
    runs = await asyncio.to_thread(supervisor.pid) is not None
    server, needed_bytes = await server_findings(effective, runs=runs)
    machine = await asyncio.to_thread(machine_findings, effective, runs=runs, needed_bytes=needed_bytes)
    exchange = [] if offline else await exchange_findings(effective)
    return [*server, *machine, *exchange]


def _tell(finding: Finding) -> None:
    style = STYLES[finding.level]
    head = f"[{style}]{finding.level:8}[/] {escape(finding.name):18} {escape(finding.found)}"
    out.print(head, highlight=False, soft_wrap=True)
    for label, text in (("means", finding.means), ("do", finding.do)):
        if text:
            out.print(f"{'':9}{label:6} {escape(text)}", highlight=False, soft_wrap=True)
