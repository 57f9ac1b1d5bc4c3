"""Mending: the lines of a plan that bring back what was changed by hand, under the ordinary brakes."""

from collections.abc import Sequence
from typing import Any

from worker.feeds.drift import BY_HAND, Astray, Drift


def line_of(one: Astray) -> dict[str, Any]:
    """Return the line of a plan that brings somebody back, or says why that is left to people."""
    step = one.step
    closed = one.code == BY_HAND and all(drift.found != "locked" for drift in one.drifts)
    line: dict[str, Any] = {
        "external_id": one.external_id, "label": one.label, "place": None,
        "action": step.action if step else "case" if closed else "noted", "code": one.code, "text": said(one.drifts),
        "changes": None, "groups": None, "jobs": None, "person": None, "undo": None, "raw": None,
    }  # fmt: skip
    if step is not None:
        changes = {name: [before, after] for name, (before, after) in step.changes.items()}
        moved = {name: found for name, found in (("added", step.added), ("removed", step.removed)) if found}
        line |= {"changes": changes or None, "groups": moved or None, "jobs": [job.as_json() for job in step.jobs]}
    return line


def said(drifts: Sequence[Drift]) -> str:
    """Say in a sentence what differs and who did it."""
    parts = []
    for drift in drifts:
        part = f"{drift.what} is {drift.found or 'nothing'}, accepted was {drift.should_be or 'nothing'}"
        if drift.by:
            part += f" (changed by {drift.by}" + (f" on {drift.at:%Y-%m-%d})" if drift.at else ")")
        parts.append(part + (f"; left as it is: {drift.left}" if drift.left else ""))
    return "; ".join(parts)


def questions(found: Sequence[Astray]) -> list[dict[str, Any]]:
    """Return the cases to open: whose account was closed by hand, which only a person may undo."""
    lines = [line_of(one) for one in found if one.step is None and one.code == BY_HAND]
    return [line for line in lines if line["action"] == "case"]
