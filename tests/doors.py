"""The HTTP doors of an office, served by the real server on loopback, and callers who hold tokens."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from office import Office

from worker import api_tokens, front


class Doors:
    """A real HTTP server in front of an office."""

    def __init__(self, office: Office, url: str) -> None:
        """`url`: where it answers."""
        self.office, self.url = office, url
        self._made = 0
        self._clients: list[httpx.Client] = []

    def token(self, *scopes: str, name: str | None = None) -> str:
        """Make a token with these scopes and return it."""
        self._made += 1
        with self.office.scope() as scope:
            return api_tokens.create(scope, name or f"t{self._made}", scopes, by="tester")

    def caller(self, *scopes: str, name: str | None = None) -> httpx.Client:
        """Whoever holds a token with these scopes; with none, whoever comes without a token."""
        headers = {"Authorization": f"Bearer {self.token(*scopes, name=name)}"} if scopes else {}
        client = httpx.Client(base_url=self.url, headers=headers, timeout=30)
        self._clients.append(client)
        return client

    def close(self) -> None:
        """Hang up."""
        for client in self._clients:
            client.close()


@contextmanager
def doors_of(office: Office) -> Iterator[Doors]:
    """Open the doors of an office for as long as the block runs."""
    with front.serving(office.app, front.listen("127.0.0.1:0")) as url:
        doors = Doors(office, url)
        try:
            yield doors
        finally:
            doors.close()
