"""Why Redis did not do what was asked: one name for each state of the server or of a key the fleet is made for.

What is the server's own state (out of memory, read only, loading) befalls every call alike and ends by itself; what
is a key's (another type, a missing group) befalls one symbol, and the others go on. Callers wait:
`workers/runtime/backoff.py`.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

from redis.exceptions import AuthenticationError, BusyLoadingError
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import TimeoutError as AnsweredLate


class Refusal(StrEnum):
    """The reasons, as they stand in logs and in `fleet_redis_refused_total`."""

    AWAY = "away"
    """No answer: refused, reset, or not within its time."""
    LOADING = "loading"
    """The server reads its data from disk after a start."""
    OUT_OF_MEMORY = "oom"
    """Beyond `maxmemory`; writes are refused, nothing is evicted."""
    READ_ONLY = "readonly"
    """The server is a replica now: the primary is elsewhere."""
    MASTER_DOWN = "masterdown"
    """A replica that has lost its primary and was told not to answer then."""
    MISCONFIGURED = "misconf"
    """The server cannot save to disk and was told to refuse writes then."""
    TOO_FEW_REPLICAS = "noreplicas"
    BUSY = "busy"
    """A script of somebody runs for longer than the server allows without answering others."""
    NOT_PERMITTED = "noperm"
    """This user may not do that."""
    NOT_LOGGED_IN = "noauth"
    """Wrong user or password, or none given."""
    CLUSTER = "cluster"
    """The server is one of a cluster, and the key is elsewhere or the cluster is down."""
    WRONG_TYPE = "wrongtype"
    """The key holds another type."""
    NO_GROUP = "nogroup"
    """The stream or its consumer group is not there."""
    OTHER = "other"
    """Anything else: mostly a script that found in a key what does not belong there."""

    @property
    def of_server(self) -> bool:
        """Whether every call suffers from it, whatever its keys."""
        return self not in _OF_KEY

    @property
    def elsewhere(self) -> bool:
        """Whether the server asked is the wrong one: a new connection, and a new look-up of its name, may cure it."""
        return self in (Refusal.READ_ONLY, Refusal.MASTER_DOWN)


_OF_KEY: Final = frozenset({Refusal.WRONG_TYPE, Refusal.NO_GROUP, Refusal.OTHER})

_CODES: Final = {
    "LOADING": Refusal.LOADING,
    "OOM": Refusal.OUT_OF_MEMORY,
    "READONLY": Refusal.READ_ONLY,
    "MASTERDOWN": Refusal.MASTER_DOWN,
    "MISCONF": Refusal.MISCONFIGURED,
    "NOREPLICAS": Refusal.TOO_FEW_REPLICAS,
    "BUSY": Refusal.BUSY,
    "NOPERM": Refusal.NOT_PERMITTED,
    "NOAUTH": Refusal.NOT_LOGGED_IN,
    "WRONGPASS": Refusal.NOT_LOGGED_IN,
    "MOVED": Refusal.CLUSTER,
    "ASK": Refusal.CLUSTER,
    "TRYAGAIN": Refusal.CLUSTER,
    "CLUSTERDOWN": Refusal.CLUSTER,
    "CROSSSLOT": Refusal.CLUSTER,
    "WRONGTYPE": Refusal.WRONG_TYPE,
    "NOGROUP": Refusal.NO_GROUP,
}
_IN_SCRIPT: Final = re.compile(rf"(?:^|[\s:'\"-])({'|'.join(_CODES)})\s")
"""A script that passes an error on puts words before it in some versions, and so does redis-py for a pipeline."""
_NO_LOGIN: Final = "invalid username-password pair"  # of a plain ConnectionError, without its code
_NOT_PERMITTED: Final = ("can't run this command", "can't access at least one of the keys", "no permissions")


def refusal_of(error: BaseException) -> Refusal:
    """Which of the reasons an error of redis-py, or of the socket below it, is.

    redis-py takes the code off the text of the errors it has a class for; there it stands in `status_code`.
    """
    if isinstance(error, BusyLoadingError):
        return Refusal.LOADING
    code = getattr(error, "status_code", None)
    if isinstance(code, str) and code in _CODES:
        return _CODES[code]
    text = str(error)
    first = text.split(" ", 1)[0]
    if first in _CODES:
        return _CODES[first]
    if isinstance(error, AuthenticationError) or _NO_LOGIN in text:
        return Refusal.NOT_LOGGED_IN
    if isinstance(error, OSError | ConnectionLost | AnsweredLate):
        return Refusal.AWAY
    if match := _IN_SCRIPT.search(text):
        return _CODES[match[1]]
    if any(words in text for words in _NOT_PERMITTED):
        return Refusal.NOT_PERMITTED
    return Refusal.OTHER
