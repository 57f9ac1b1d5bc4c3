"""The office with an HR department."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hr import DECLARED, HR
from office import Office


@pytest.fixture
def declare(office: Office, tmp_path: Path) -> Callable[[str], HR]:
    """Declare feeds: returns the HR department that works by them."""

    def made(declared: str) -> HR:
        for group in ("staff", "sales", "engineering"):
            office.do("create_group", {"group": group})
        return HR(office, tmp_path, declared)

    return made


@pytest.fixture
def hr(declare: Callable[[str], HR]) -> HR:
    """One feed of full files, without brakes."""
    return declare(DECLARED)
