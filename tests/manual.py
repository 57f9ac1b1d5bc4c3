"""Reads docs/ as its readers do: the pages, and the examples that stand in them under a name."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"


def page(name: str) -> str:
    """Return the text of one page of docs/."""
    return (DOCS / name).read_text(encoding="utf-8")


def pages() -> list[Path]:
    """Return all pages: docs/ and the files beside it that people read first."""
    return sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])


def example(name: str, page_name: str) -> str:
    """Return the block of code that follows the line `<!-- example: NAME -->` of a page."""
    found = re.search(rf"<!-- example: {re.escape(name)} -->\n```\w*\n(.*?)^```$", page(page_name), re.DOTALL | re.MULTILINE)
    assert found is not None, f"docs/{page_name} has no example called {name}"
    return found[1]


def blocks(language: str, text: str) -> list[str]:
    """Return all blocks of code in this language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
