"""What a page logs and which hosts it asks."""

from __future__ import annotations

import re

from playwright.async_api import ConsoleMessage, Page

LONGEST_MS = 30_000
"""How long the page may take for anything; far more than it does on a machine with nothing else to do."""


class Watch:
    """What a page did that it must not do."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.expected: list[str] = []
        """Patterns of console errors that the test brings about, such as the browser's note of a 404."""

    def follow(self, page: Page) -> None:
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("websocket", lambda socket: self.requests.append(socket.url))

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(f"{message.text} {message.location.get('url', '')}")

    def unexpected(self) -> list[str]:
        return [error for error in self.errors if not any(re.search(one, error) for one in self.expected)]

    def elsewhere(self) -> list[str]:
        return [url for url in self.requests if not re.match(r"(http|ws)://127\.0\.0\.1[:/]", url)]
