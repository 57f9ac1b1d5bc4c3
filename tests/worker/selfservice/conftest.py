"""What tests of the pages for people can ask for: an office with its world, whose mails land in a folder, and its doors."""

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from doors import Doors, doors_of
from entrance import Entrance
from posts import mailing


@pytest.fixture
def entrance(database_url: str, tmp_path: Path) -> Iterator[Entrance]:
    """The pages of an office of this test's own, on SQLite and on PostgreSQL."""
    folder = tmp_path / "mails"
    folder.mkdir()
    with mailing(database_url, folder, organisation="Harbour Works") as office, doors_of(office) as doors:
        yield Entrance(doors, folder)


@pytest.fixture(scope="module")
def shared(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Entrance]:
    """The pages of one office for all tests of a module, on SQLite: for what does not hang on the database."""
    folder = tmp_path_factory.mktemp("shared")
    for part in sqlite_template.parent.glob(f"{sqlite_template.name}*"):
        shutil.copy(part, folder / part.name)
    url = f"sqlite:///{folder / sqlite_template.name}"
    with mailing(url, folder, organisation="Harbour Works") as office, doors_of(office) as doors:
        yield Entrance(doors, folder)


@pytest.fixture
def doors(shared: Entrance) -> Doors:
    """The doors that the tests of a module share."""
    return shared.doors


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """All that Muster and its server write to the log, values included; what the test's own client writes left out."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(f"{record.getMessage()} {vars(record)!r}")

    keep = Keep()
    ours = [logging.getLogger(name) for name in ("worker", "uvicorn", "uvicorn.error", "asyncio")]
    for logger in ours:
        caplog.set_level(logging.DEBUG, logger.name)
        logger.addHandler(keep)
    yield lines
    for logger in ours:
        logger.removeHandler(keep)
