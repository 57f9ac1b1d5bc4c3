"""What tests of the SCIM door can ask for: the doors of an office, and an identity system before them."""

from collections.abc import Iterator

import pytest
from doors import Doors, doors_of
from office import Office
from scim_client import ScimClient


@pytest.fixture
def doors(office: Office) -> Iterator[Doors]:
    """The HTTP doors of an office, on SQLite and on PostgreSQL."""
    with doors_of(office) as opened:
        yield opened


@pytest.fixture
def client(doors: Doors) -> Iterator[ScimClient]:
    """An identity system with a token of its own."""
    with ScimClient(doors, name="idp") as made:
        yield made


@pytest.fixture
def sqlite_doors(sqlite_url: str) -> Iterator[Doors]:
    """The same on SQLite alone, for what has nothing to do with the database."""
    office = Office(sqlite_url)
    with doors_of(office) as opened:
        yield opened
    office.close()
