"""The house keeps its order: one way through worker/, one file a job, every module says what it is."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"settings", "outcomes", "states", "ids", "redact", "scope", "jobs", "errand", "faultpoints",
               "screen", "logs", "address", "identity", "collector"}),
    frozenset({"tables", "feed_tables", "door_tables", "database", "bulk", "migrate"}),
    frozenset({"ledger", "lines", "intake", "outbox", "directory"}),
    frozenset({"context", "queue", "settle"}),
    frozenset({"mail", "runner", "edge", "keeper", "telemetry", "listing", "messages", "pages", "api_tokens", "throttle"}),
    frozenset({"feeds", "webhooks", "plan_view"}),
    frozenset({"app", "supervisor", "process", "dryrun", "steering", "power"}),
    frozenset({"web"}),
    frozenset({"api", "scim", "selfservice", "console"}),
    frozenset({"front"}),
    frozenset({"cli", "demo", "doctor", "refusals", "reference", "__main__"}),
)
"""The one way through worker/: a module imports from its own line and the lines above, never from below.

A new module or folder of worker/ is added here, on the highest line that holds everything it needs.
"""

ALEMBICS_OWN = "migrations"
"""Migrations are run by alembic, imported by nobody, and describe tables as they were: they import nothing of ours."""

ACTORS_MAY_IMPORT = frozenset(sys.stdlib_module_names) | {"worker", "pydantic"}

JOB_DECORATORS = frozenset({"job", "bulk_job", "edge_job"})

MAX_LINES = 450
"""A file that needs more holds two things; style aims at 250."""

# Put together here, so that this file does not hold what it looks for.
FOREIGN = re.compile(
    "|".join(
        [
            *(re.escape(".".join(host)) for host in [("pypi", "org"), ("npmjs", "org"), ("deb", "debian")]),
            "python" + "hosted",
            *(rf"(?<![\w.])/{folder}(?=[/\s\"'`:]|$)" for folder in ("wo" + "rk", "ro" + "ot", "fa" + "rm")),
            "/opt" + "/muster",
        ]
    )
)
"""Hosts of package registries and folders of somebody's machine."""

LEFT_OPEN = re.compile("|".join(["TO" + "DO", "FIX" + "ME", "NotImplemented" + "Error"]))


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


every_module = pytest.mark.parametrize(
    "path", [path for folder in ("worker", "actors", "tests", "benchmarks") for path in modules(folder)], ids=name_of
)
worker_module = pytest.mark.parametrize("path", modules("worker"), ids=name_of)
actor_module = pytest.mark.parametrize(
    "path", [path for path in modules("actors") if path.stem != "__init__"], ids=name_of
)


def imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Give (module, name) for everything imported at run time; `import a.b` gives ("a.b", "")."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue  # what only the type checker sees is no dependency
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (("." * node.level + (node.module or ""), alias.name) for alias in node.names)
        else:
            yield from imports(node)


def own_imports(path: Path) -> set[str]:
    """Give the parts of worker/ (file or folder names) that a module imports; the front door is `""`."""
    found = set()
    for module, name in imports(ast.parse(path.read_text())):
        parts = [*module.split("."), name]
        if parts[0] != "worker":
            continue
        is_part = parts[1] and ((ROOT / "worker" / f"{parts[1]}.py").exists() or (ROOT / "worker" / parts[1]).is_dir())
        found.add(parts[1] if is_part else "")
    return found


def part_of(path: Path) -> str:
    """Give the part of worker/ that a file belongs to: its own name, or its folder's."""
    inside = path.relative_to(ROOT / "worker")
    return inside.parts[0].removesuffix(".py")


def layer_of(part: str) -> int:
    for number, layer in enumerate(LAYERS):
        if part in layer:
            return number
    message = f"worker/{part} stands on no line of LAYERS in tests/test_house.py: add it on the highest one that it can stand on"
    raise AssertionError(message)


@worker_module
def test_worker_imports_go_one_way(path: Path) -> None:
    part = part_of(path)
    if part in {"__init__", ALEMBICS_OWN}:
        return
    here = layer_of(part)
    wrong = sorted(other for other in own_imports(path) if other and layer_of(other) > here)
    assert not wrong, f"{name_of(path)} imports from further along the way: {', '.join(wrong)}"


@worker_module
def test_the_front_door_is_for_actors(path: Path) -> None:
    if part_of(path) == "__init__":
        return
    assert "" not in own_imports(path), f"{name_of(path)} imports from `worker`; inside, name the module that has it"


def test_no_two_parts_of_worker_import_each_other() -> None:
    needs: dict[str, set[str]] = {}
    for path in modules("worker"):
        part = part_of(path)
        if part not in {"__init__", ALEMBICS_OWN}:
            needs.setdefault(part, set()).update(own_imports(path) - {part, ""})
    while ready := {part for part, needed in needs.items() if not needed & needs.keys()}:
        needs = {part: needed for part, needed in needs.items() if part not in ready}
    assert not needs, f"these go round in a circle: {sorted(needs)}"


@worker_module
def test_worker_does_not_know_the_actors(path: Path) -> None:
    known = [module for module, _ in imports(ast.parse(path.read_text())) if module.split(".")[0] == "actors"]
    assert not known, f"{name_of(path)} imports actors; worker loads them by name from MUSTER_ACTORS"


@worker_module
def test_migrations_import_nothing_of_ours(path: Path) -> None:
    if part_of(path) == ALEMBICS_OWN and "versions" in path.parts:
        assert not own_imports(path), f"{name_of(path)}: a migration describes the tables of its day, not today's"


@actor_module
def test_actors_import_from_the_front_door_alone(path: Path) -> None:
    for module, _ in imports(ast.parse(path.read_text())):
        package = module.split(".")[0]
        assert package in ACTORS_MAY_IMPORT, f"{name_of(path)} imports {module}; what two jobs share goes to worker/directory/"
        assert package != "worker" or module == "worker", f"{name_of(path)} imports {module}: `from worker import …` instead"


@actor_module
def test_one_file_is_one_job(path: Path) -> None:
    handlers = [
        node.name
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef)
        and any(ast.unparse(mark).split("(")[0] in JOB_DECORATORS for mark in node.decorator_list)
    ]
    assert handlers == [path.stem], f"{name_of(path)} holds {handlers or 'no job'}; it has to hold {path.stem} alone"


@actor_module
def test_every_job_has_its_test(path: Path) -> None:
    test = ROOT / "tests" / "actors" / f"test_{path.name}"
    assert test.exists(), f"{name_of(path)} has no {name_of(test)}"


def test_every_test_of_a_job_has_its_job() -> None:
    for test in modules("tests/actors"):
        job = ROOT / "actors" / test.name.removeprefix("test_")
        assert job.exists() or not test.name.startswith("test_"), f"{name_of(test)} tests a job that is not there"


@every_module
def test_every_module_says_what_it_is(path: Path) -> None:
    said = ast.get_docstring(ast.parse(path.read_text()))
    assert said, f"{name_of(path)} has no docstring; one line in an administrator's words"
    assert said.splitlines()[0].endswith("."), f"{name_of(path)}: its first line is not a whole sentence"


@every_module
def test_files_stay_small(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= MAX_LINES, f"{name_of(path)} has {lines} lines; split it by what its parts are for"


@every_module
def test_nothing_is_left_open(path: Path) -> None:
    found = LEFT_OPEN.search(path.read_text())
    assert not found, f"{name_of(path)} says {found[0]}: finish it or take it out" if found else ""


def test_tests_hide_no_package() -> None:
    hiding = [name_of(path) for path in modules("tests") if path.name == "__init__.py"]
    assert not hiding, f"{hiding} would hide the packages under test (see pytest's settings in pyproject.toml)"


def test_the_tree_speaks_of_itself_alone() -> None:
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, capture_output=True, check=True,
        )  # fmt: skip
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout: which files belong to the tree is not known")
    found = [
        f"{name}:{number}: {match[0]}"
        for name in listed.stdout.decode().split("\0")
        if (ROOT / name).is_file()
        for number, line in enumerate((ROOT / name).read_text(errors="replace").splitlines(), start=1)
        if (match := FOREIGN.search(line))
    ]
    assert not found, "these name a registry's host or a folder of somebody's machine:\n" + "\n".join(found)
