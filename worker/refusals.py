"""Which refusals a job can end with, read off the source of its handler and of everything that it calls."""

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator
from functools import cache
from types import FunctionType, ModuleType
from typing import Any

from pydantic import BaseModel

from worker.jobs import MAIL, Kind, Registry
from worker.outcomes import REASONS

# Where refusals are decided; what the way itself adds is the same for every job.
DECIDING = ("worker.directory", "worker.webhooks")
_REFUSING = frozenset({"Reject", "reject"})


def of(kind: Kind) -> list[str]:
    """Return the codes that the kind's handler, or what it calls, can refuse with, in the order of REASONS.

    Everything reachable counts, so a code may stand here that this job never meets. Not in it: what the door and the
    runner say of any job.
    """
    found: set[str] = set()
    seen: set[Any] = set()
    rest: list[Any] = [kind.handler]
    home = kind.handler.__module__
    while rest:
        thing = rest.pop()
        if thing in seen:
            continue
        seen.add(thing)
        codes, called = _read(thing)
        found |= codes
        rest += [other for other in called if other.__module__ == home or other.__module__.startswith(DECIDING)]
    if kind.policy.life is not None:
        found.add("expired")
    if kind.policy.queue == MAIL:
        found.add("relay_refused")
    return [code for code in REASONS if code in found]


def by_code(registry: Registry) -> dict[str, list[str]]:
    """Return, for each code, the kinds whose jobs can be refused with it."""
    found: dict[str, list[str]] = {code: [] for code in REASONS}
    for kind in registry:
        for code in of(kind):
            found[code].append(kind.name)
    return found


@cache
def _read(thing: Any) -> tuple[frozenset[str], tuple[Any, ...]]:
    """Return the codes in the source of a function or class, and the functions and classes that it mentions."""
    if isinstance(thing, type):
        return frozenset(), tuple(_methods(thing))
    tree = ast.parse(textwrap.dedent(inspect.getsource(thing)))
    codes = {
        str(node.args[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and _name(node.func) in _REFUSING and node.args
        and isinstance(node.args[0], ast.Constant) and node.args[0].value in REASONS
    }  # fmt: skip
    own = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    own |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    scope = {name: value for name, value in vars(sys.modules[thing.__module__]).items() if name not in own}
    mentioned = [_resolve(node, scope) for node in ast.walk(tree) if isinstance(node, (ast.Name, ast.Attribute))]
    return frozenset(codes), tuple(dict.fromkeys(one for one in mentioned if _is_ours(one)))


def _methods(cls: type) -> Iterator[Any]:
    for value in vars(cls).values():
        function = getattr(value, "__func__", None) or getattr(value, "fget", None) or value
        # What a decorator generates (a dataclass's own methods) stands in no file of ours.
        if isinstance(function, FunctionType) and function.__code__.co_filename == sys.modules[cls.__module__].__file__:
            yield function


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _resolve(node: ast.expr, scope: dict[str, Any]) -> Any:
    """Return what a name, or a name in a module, stands for; None for anything else."""
    if isinstance(node, ast.Name):
        return scope.get(node.id)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        home = scope.get(node.value.id)
        return getattr(home, node.attr, None) if isinstance(home, ModuleType) else None
    return None


def _is_ours(thing: Any) -> bool:
    if isinstance(thing, type):
        return not issubclass(thing, (BaseModel, BaseException))
    return isinstance(thing, FunctionType)
