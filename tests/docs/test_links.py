"""The pages hold together: every link leads somewhere, every file and test that they name is there."""

import ast
import re
from pathlib import Path

import pytest
from manual import DOCS, ROOT, pages

every_page = pytest.mark.parametrize("path", pages(), ids=lambda path: str(path.relative_to(ROOT)))

PATH = re.compile(r"`((?:worker|actors|tests|templates|benchmarks|docs)/[\w./-]+)(?:::(\w+))?`")
INVENTED = {"our_jobs/record_training.py"}
"""Files that a page tells its reader to make."""


def prose(path: Path) -> str:
    """The page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_page
def test_every_link_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        place, _, anchor = target.partition("#")
        if "://" in place:
            continue
        leads = (path.parent / place).resolve() if place else path
        assert leads.exists(), f"{path.name} links to {target}"
        if anchor:
            assert anchor in anchors(leads), f"{path.name} links to {target}, which has no such heading"


@every_page
def test_every_file_and_test_that_is_named_is_there(path: Path) -> None:
    for place, name in PATH.findall(prose(path)):
        named = ROOT / place
        assert named.exists() or place in INVENTED, f"{path.name} names {place}"
        if name:
            functions = {node.name for node in ast.walk(ast.parse(named.read_text())) if isinstance(node, ast.FunctionDef)}
            assert name in functions, f"{path.name}: {place} has no {name}"


@every_page
def test_functions_that_are_named_with_their_file_are_in_it(path: Path) -> None:
    for name, place in re.findall(r"`([\w.]+)`\s+in\s+`((?:worker|actors)/[\w/]+\.py)`", prose(path)):
        tree = ast.parse((ROOT / place).read_text())
        defined = {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
        defined |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        assert name.rpartition(".")[2] in defined, f"{path.name}: {name} is not in {place}"


def test_every_page_is_reached_from_another_one() -> None:
    linked = {
        (path.parent / target.partition("#")[0]).resolve()
        for path in pages()
        for target in re.findall(r"\]\(([^)\s]+\.md[^)\s]*)\)", prose(path))
        if "://" not in target
    }
    lonely = [path.name for path in DOCS.rglob("*.md") if path.resolve() not in linked]
    assert not lonely, f"no page links to {', '.join(lonely)}"
