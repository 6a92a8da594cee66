"""The user's own key with an exchange, for what it tells nobody without one: of the environment alone, never shown."""

from __future__ import annotations

from typing import Any, Final

from workers.masking import MASK
from workers.settings.schema import VenueSettings

KEY_FIELDS: Final = ("api_key", "api_secret", "api_passphrase")
"""What the parts of a key are called in a venue's section."""


class SignedVenueSettings(VenueSettings, forbid_unknown_fields=True, kw_only=True):
    """A venue that has something to tell to those with a key; one with a passphrase adds `api_passphrase`."""

    api_key: str = ""
    """Name of your own key, for what the exchange tells nobody without one; a secret: set it as
    `FLEET_VENUES__NAME__API_KEY`."""
    api_secret: str = ""
    """What requests are signed with; a secret: set it as `FLEET_VENUES__NAME__API_SECRET`."""

    def __repr__(self) -> str:
        """Without the key: what is printed may end up in a log."""
        return f"{type(self).__name__}({self.exchange!r}, {self.market!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """The same where rich prints it."""
        return [("exchange", self.exchange), ("market", self.market)]

    def without_key(self, said: str) -> str:
        """What an exchange said, should it repeat a part of the key."""
        for part in filter(None, key_of(self).values()):
            said = said.replace(part, MASK)
        return said

    def odd_part_of_key(self) -> str:
        """The name of a part that has what no key has, such as the end of a line; empty where none has."""
        parts = key_of(self).items()
        return next(
            (
                name
                for name, part in parts
                if not (part.isascii() and part.isprintable()) or part.strip() != part
            ),
            "",
        )

    def missing_key(self, section: str) -> str:
        """What is to be done where a part of the key is not set, as a sentence; empty where all are."""
        missing = [name for name in KEY_FIELDS if getattr(self, name, "set") == ""]
        if not missing:
            return ""
        variables = " and ".join(variable(section, name) for name in missing)
        return f"{self.exchange} tells this to holders of a key alone: set {variables} in the environment"


def key_of(venue: VenueSettings) -> dict[str, str]:
    """The parts of a venue's key by their names; none where the exchange takes none."""
    return {name: getattr(venue, name) for name in KEY_FIELDS if hasattr(venue, name)}


def variable(section: str, name: str) -> str:
    """The environment's name of a setting of a venue: `FLEET_VENUES__KRAKEN__API_KEY`."""
    return f"FLEET_VENUES__{section}__{name}".upper()


def is_part_of_key(key: str) -> bool:
    """Whether a dotted key of the settings is a part of a venue's key."""
    section, _, name = key.rpartition(".")
    return section.startswith("venues.") and name in KEY_FIELDS
