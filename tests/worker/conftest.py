"""What tests of the worker's parts can ask for besides the office: a bench with jobs made for tests."""

from collections.abc import Iterator

import pytest
from trial import Bench


@pytest.fixture
def bench(database_url: str) -> Iterator[Bench]:
    """An office that knows the trial kinds, on SQLite and on PostgreSQL."""
    opened = Bench(database_url)
    yield opened
    opened.close()


@pytest.fixture
def pg_bench(postgres_url: str) -> Iterator[Bench]:
    """The same on PostgreSQL alone, for what only row locks can show."""
    opened = Bench(postgres_url)
    yield opened
    opened.close()
