"""What should be so of a person at a moment: account or none, active or not, which groups; and when that changes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Phase = Literal["none", "prehire", "active", "leave", "left"]


@dataclass(frozen=True)
class Desired:
    """What should be so of one person, as far as the source says.

    `fields`: what the directory should hold, by the names of `update_user` (attributes as one object); a field that the
    source does not claim is missing, one that it clears is None. `groups`: name -> the rule that says so. `manager`: an
    external id of the same source. `leaves_at`: when access ends, if that is known; in the past once the phase is left.
    `late`: how long ago the phase should have begun. `due_at`: when time alone makes this another one.
    """

    phase: Phase
    fields: Mapping[str, Any] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    manager: str | None = None
    starts_on: str | None = None
    leaves_at: datetime | None = None
    why: str | None = None
    urgent: bool = False
    rescinded: bool = False
    absent: bool = False
    due_at: datetime | None = None
