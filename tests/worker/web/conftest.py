"""What tests of the guards can ask for: a real server with a few doors more, and a bare socket to knock with."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from doors import Doors
from knocks import Knock, trial_doors
from office import Office


@pytest.fixture(scope="module")
def trial_office(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """An office on a SQLite file of this module's own."""
    file = tmp_path_factory.mktemp("doors") / "muster.sqlite"
    shutil.copy(sqlite_template, file)
    opened = Office(f"sqlite:///{file}")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def doors(trial_office: Office) -> Iterator[Doors]:
    """The doors of that office."""
    yield from trial_doors(trial_office)


@pytest.fixture
def knock(doors: Doors) -> Iterator[Knock]:
    """One connection to it."""
    opened = Knock(doors.url)
    yield opened
    opened.close()
