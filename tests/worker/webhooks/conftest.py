"""What the tests of webhooks ask for: an office with people, and a receiver that it tells."""

from collections.abc import Iterator

import pytest
from office import Office
from receiver import Receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A program on loopback that takes webhooks."""
    with Receiver() as opened:
        yield opened


@pytest.fixture
def office(database_url: str) -> Iterator[Office]:
    """An office with the people of the examples, on SQLite and on PostgreSQL."""
    opened = Office(database_url)
    opened.world()
    yield opened
    opened.close()
