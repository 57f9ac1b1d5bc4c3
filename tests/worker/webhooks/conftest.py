"""What the tests of webhooks ask for: an office with people, and a receiver that it tells."""

from collections.abc import Iterator

import pytest
from office import Office


@pytest.fixture
def office(database_url: str) -> Iterator[Office]:
    """An office with the people of the examples, on SQLite and on PostgreSQL."""
    opened = Office(database_url)
    opened.world()
    yield opened
    opened.close()
