"""What the system tests share: a door to submit through, and worker processes to hire."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from crew import Crew, front_office
from office import Office


@pytest.fixture
def broker(request: pytest.FixtureRequest, database_url: str) -> str | None:
    """A Redis beside PostgreSQL; beside SQLite the queue lives in the process."""
    return None if database_url.startswith("sqlite") else str(request.getfixturevalue("broker_url"))


@pytest.fixture
def front(database_url: str, broker: str | None) -> Iterator[Office]:
    """The door through which a test submits, at the real time, with a bell that the workers hear."""
    office = front_office(database_url, broker)
    yield office
    office.close()


@pytest.fixture
def crew(database_url: str, broker: str | None, tmp_path: Path) -> Iterator[Crew]:
    """Worker processes on the database of the test, ended after it."""
    hired = Crew(database_url, broker, tmp_path)
    yield hired
    hired.stop()
