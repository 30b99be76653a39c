"""Given: a service that was there before the tests."""

from __future__ import annotations

from urllib.parse import urlsplit

from tests.services.process import Unavailable


class Given:
    """A service that the environment names: to be used, not to be ended."""

    alive = True

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self.url = url
        self.port = urlsplit(url).port

    def _refuse(self) -> None:
        raise Unavailable(f"{self.name} is not ours to kill or freeze: unset it for this test")

    kill = stop = cont = restart = terminate = _refuse

    def heal(self) -> None:
        """Nothing can have happened to it."""

    def close(self) -> None:
        """It was here before, and stays."""
