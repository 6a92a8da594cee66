"""What the doctor finds on this machine: limits, disk, ports, packages."""

from __future__ import annotations

import resource
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from workers.extras import install_command
from workers.operations.doctor.findings import Finding, megabytes
from workers.operations.open_files import raise_limit
from workers.operations.process_numbers import cores, process_numbers
from workers.operations.redis_program import listening_problem
from workers.runtime.process import PORT_OFFSETS, port_offset
from workers.settings.loading import Effective
from workers.settings.schema import Settings

SPARE_FILES: Final = 256
"""Sockets, logs and libraries of one process besides its clients."""
LEAST_FREE: Final = 1_000_000_000
COMFORTABLE_FREE: Final = 10_000_000_000
FAST: Final = {
    "hiredis": "Replies of Redis would be parsed in Python, several times slower.",
    "uvloop": "Workers could not start.",
}


def machine_findings(effective: Effective, *, runs: bool, needed_bytes: float) -> list[Finding]:
    """Everything about this machine.

    Args:
        runs: whether the fleet runs, so that its ports are taken by itself.
        needed_bytes: the server's expected memory, which its file repeats.
    """
    return [
        _files(effective),
        processes_finding(effective.settings, cores()),
        _disk(effective, needed_bytes),
        *_ports(effective, runs=runs),
        *_open_port(effective.settings),
        *_packages(effective),
    ]


def processes_finding(settings: Settings, cores: int) -> Finding:
    """The processes that the settings make of lines, books and trades, against the cores there are."""
    numbers = process_numbers(settings, cores)
    words = [f"{numbers[role]} {role}" for role in numbers]
    found = f"{', '.join(words)} (`ingest` of each line) on {cores} cores" if words else f"{cores} cores"
    details = {**numbers, "cores": cores}
    if numbers.get("books", 0) <= max(2, cores) and 2 * numbers.get("ingest", 0) <= max(2, cores):
        return Finding("processes", "ok", found, details=details)
    return Finding(
        "processes",
        "warning",
        found,
        "More processes of a role than cores share them out and gain nothing.",
        'Set processes.ingest and processes.books to fewer, or to "auto".',
        details,
    )


def _files(effective: Effective) -> Finding:
    soft = raise_limit()  # as every role does
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = effective.settings.api.most_clients + SPARE_FILES
    found = f"{soft} open files a process (hard limit {hard})"
    if soft >= wanted or soft == resource.RLIM_INFINITY:
        return Finding("file limit", "ok", found, details={"soft": soft, "hard": hard})
    return Finding(
        "file limit",
        "problem" if soft < SPARE_FILES else "warning",
        found,
        f"The api role takes {effective.settings.api.most_clients} clients (api.most_clients), each an open file; "
        "beyond the limit connections are refused.",
        f"ulimit -n {max(4096, wanted)} before starting, LimitNOFILE= of a systemd unit, or a lower api.most_clients.",
        {"soft": soft, "hard": hard},
    )


def _existing(path: Path) -> Path:
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _disk(effective: Effective, needed_bytes: float) -> Finding:
    folder = _existing(effective.home)
    free = shutil.disk_usage(folder).free
    ours = not effective.settings.redis.url
    wanted = max(LEAST_FREE, 2 * needed_bytes) if ours else LEAST_FREE
    found = f"{megabytes(free)} free at {folder}"
    details = {"free_bytes": free, "wanted_bytes": round(wanted)}
    if free >= max(wanted, COMFORTABLE_FREE):
        return Finding("disk", "ok", found, details=details)
    return Finding(
        "disk",
        "problem" if free < wanted else "warning",
        found,
        "The server's append-only file grows to about twice its memory while it is rewritten; logs and archive come "
        "on top. On a full disk Redis refuses writes."
        if ours
        else "Logs and archive are written here.",
        f"Free some, or set FLEET_HOME to a disk with {megabytes(max(wanted, COMFORTABLE_FREE))} or more.",
        details,
    )


def _open_port(settings: Settings) -> list[Finding]:
    """Whether other users of this machine can do what they like with the fleet's own server."""
    if settings.redis.url or not settings.redis.port or settings.redis.password:
        return []
    return [
        Finding(
            "redis port",
            "warning",
            f"redis.port {settings.redis.port} has no password",
            "Every user of this machine can read, write and reconfigure the server.",
            "Set FLEET_REDIS__PASSWORD, or leave redis.port 0 and use the unix socket.",
        )
    ]


def _ports(effective: Effective, *, runs: bool) -> list[Finding]:
    settings = effective.settings
    wanted = {"api.port": (settings.api.host, settings.api.port)}
    if not settings.redis.url:
        wanted["redis.port"] = ("127.0.0.1", settings.redis.port)
    if settings.exchange.enabled:
        wanted["exchange.port"] = (settings.exchange.host, settings.exchange.port)
        for flavour, number in settings.exchange.flavours.items():
            if number:
                wanted[f"exchange.flavours.{flavour}"] = (settings.exchange.host, number)
    if settings.metrics.base_port:
        numbers = process_numbers(settings, cores())
        for role in PORT_OFFSETS:
            for number in range(numbers.get(role.partition("-")[0], 1)):
                name = f"metrics of {role}{f'-{number}' if number else ''}"
                wanted[name] = (settings.metrics.host, settings.metrics.base_port + port_offset(role, number))
    problems = [
        (name, host, port, problem)
        for name, (host, port) in wanted.items()
        if port and (problem := listening_problem(host, port))
    ]
    ports = ", ".join(f"{name} {port}" for name, (_, port) in wanted.items() if port)
    if runs:
        return [Finding("ports", "ok", f"in use by the running fleet: {ports}")]
    if not problems:
        return [Finding("ports", "ok", f"free: {ports or 'none is needed'}")]
    return [
        Finding(
            "ports",
            "problem",
            f"{name}: port {port} of {host} {problem}",
            "This part of the fleet cannot start.",
            f"Stop the program that has it (ss -ltnp 'sport = :{port}' names it), or set {_variable(name)} to "
            "another port, or the host beside it to an address of this machine.",
        )
        for name, host, port, problem in problems
    ]


def _variable(name: str) -> str:
    if name.startswith("metrics"):
        return "FLEET_METRICS__BASE_PORT"
    return f"FLEET_{name.replace('.', '__').upper()}"


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _packages(effective: Effective) -> list[Finding]:
    findings, there = [], []
    for package, means in FAST.items():
        if found := _installed(package):
            there.append(f"{package} {found}")
        else:
            problem = f"{package} is not installed"
            findings.append(Finding("packages", "problem", problem, means, f"pip install {package}"))
    settings = effective.settings
    extras = (
        ("archive", settings.archive.enabled, "pyarrow"),
        ("postgres", settings.postgres.enabled, "psycopg"),
    )
    for role, enabled, package in extras:
        if not enabled:
            continue
        if found := _installed(package):
            there.append(f"{package} {found}")
        else:
            problem = f"{role}.enabled is true and {package} is not installed"
            means, cure = f"The role {role} does not start.", install_command(role)
            findings.append(Finding("packages", "problem", problem, means, cure))
    return [Finding("packages", "ok", ", ".join(there)), *findings] if there else findings
