"""An HR department and the HTTP doors of its office, for tests of what comes in by them."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from doors import Doors, doors_of
from hr import HR
from office import Office


@contextmanager
def hr_doors(template: Path, folder: Path, declared: str) -> Iterator[tuple[HR, Doors]]:
    """Open an office on a SQLite file of its own. `declared`: the text of muster.toml."""
    file = folder / "muster.sqlite"
    shutil.copy(template, file)
    office = Office(f"sqlite:///{file}")
    for group in ("staff", "sales"):
        office.do("create_group", {"group": group})
    try:
        with doors_of(office) as doors:
            hr = HR(office, folder, declared)
            office.app.database.settings = hr.settings  # jobs ask it which feeds there are
            yield hr, doors
    finally:
        office.close()
