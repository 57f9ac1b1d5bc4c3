"""Each decision is one page of one form, with a sentence to quote and a test that guards it."""

import fcntl
import re
import sqlite3
import threading
from pathlib import Path

import pytest
from manual import DOCS
from office import SECRET

from worker.app import App
from worker.intake import Request
from worker.settings import Settings

PAGES = sorted((DOCS / "decisions").glob("0*.md"))
PARTS = ["Context", "Decision", "Consequences", "Instead of", "Guarded by"]


def test_decisions_are_numbered_without_a_gap_and_listed() -> None:
    assert [path.name[:4] for path in PAGES] == [f"{number:04}" for number in range(1, len(PAGES) + 1)]
    listed = re.findall(r"\((0\d{3}-[\w-]+\.md)\)", (DOCS / "decisions" / "README.md").read_text())
    assert listed == [path.name for path in PAGES]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_decision_has_its_parts_one_quotable_sentence_and_a_guard(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"# {path.name[:4]}: ")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == PARTS
    [quoted] = re.findall(r"^> (.+)$", text, re.MULTILINE)
    assert quoted.endswith(".")
    assert "::test_" in text.partition("## Guarded by")[2]  # that it exists is seen by test_links.py
    assert len(text.splitlines()) <= 60, "one page each"


def test_a_writer_waits_at_the_file_lock_before_it_begins(sqlite_url: str) -> None:
    file = sqlite_url.removeprefix("sqlite:///")
    app = App(Settings(database_url=sqlite_url, secret_key=SECRET))
    app.check_key()
    ended = threading.Event()

    def submit() -> None:
        app.submit([Request("create_group", {"group": "staff"}, "test")])
        ended.set()

    with Path(f"{file}.lock").open("a") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        waiting = threading.Thread(target=submit)
        waiting.start()
        assert not ended.wait(0.5)
        # It waits for its turn, and not inside of a transaction: whoever has the turn can write.
        with sqlite3.connect(file, timeout=0) as holder:
            holder.execute("BEGIN IMMEDIATE")
            assert holder.execute("SELECT count(*) FROM job").fetchone() == (0,)
        holder.close()
    waiting.join(timeout=60)
    assert ended.is_set()
    app.close()
