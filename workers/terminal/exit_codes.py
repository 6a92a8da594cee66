"""What the fleet command's exit codes mean."""

from __future__ import annotations

from typing import Final

EXIT_FINE: Final = 0
EXIT_DISAGREEMENT: Final = 1
"""A check failed: a book, trade or bar differs from the truth, a test failed, a worker cannot work."""
EXIT_SETTINGS: Final = 2
"""The command line or the settings cannot be used."""
EXIT_NOT_STARTED: Final = 3
"""Something the command needs could not be started or reached."""
EXIT_INTERRUPTED: Final = 130
"""Ended by Ctrl-C, a termination or a hang-up before the result was known."""
