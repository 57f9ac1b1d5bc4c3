"""What the contract tests ask for: a stage on which every job of the registry can play its examples."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from stage import Stage


@pytest.fixture(scope="session")
def letter_box(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of this session's mails: one for all stages, so that their world is made once."""
    return tmp_path_factory.mktemp("mails")


@pytest.fixture
def stage(database_url: str, letter_box: Path) -> Iterator[Stage]:
    """A stage on SQLite and on PostgreSQL, set for no example yet."""
    with Stage.open(database_url, letter_box) as opened:
        yield opened
