"""The office with an HR department."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hr import DECLARED, HR
from office import Office


@pytest.fixture
def declare(office: Office, tmp_path: Path) -> Callable[[str], HR]:
    """Declare feeds: returns the HR department that works by them."""
    return _declarer(office, tmp_path)


def _declarer(office: Office, folder: Path) -> Callable[[str], HR]:
    def made(declared: str) -> HR:
        for group in ("staff", "sales", "engineering"):
            office.do("create_group", {"group": group})
        return HR(office, folder, declared)

    return made


@pytest.fixture
def hr(declare: Callable[[str], HR]) -> HR:
    """One feed of full files, without brakes."""
    return declare(DECLARED)


@pytest.fixture
def declare_sqlite(sqlite_url: str, tmp_path: Path) -> Iterator[Callable[[str], HR]]:
    """The same on SQLite alone, for what lies in the reading and not in the database."""
    opened = Office(sqlite_url)
    yield _declarer(opened, tmp_path)
    opened.close()


@pytest.fixture
def hr_sqlite(declare_sqlite: Callable[[str], HR]) -> HR:
    """One feed of full files, without brakes, on SQLite alone."""
    return declare_sqlite(DECLARED)
