"""What tests of the API can ask for: servers on each database, and one on SQLite alone."""

from collections.abc import Iterator

import pytest
from doors import Doors, doors_of
from office import Office


@pytest.fixture
def doors(office: Office) -> Iterator[Doors]:
    """A server on each database, with the world's people."""
    office.world()
    with doors_of(office) as opened:
        yield opened


@pytest.fixture
def lite(sqlite_url: str) -> Iterator[Doors]:
    """A server on SQLite, for what does not depend on the database."""
    office = Office(sqlite_url)
    with doors_of(office) as opened:
        yield opened
    office.close()
