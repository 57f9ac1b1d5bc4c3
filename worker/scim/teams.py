"""A group as a SCIM client sees it, and what a client's changes of its members mean, without reading them all."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from scim2_models import InvalidValueException, PatchOp, PatchOperation
from scim2_models.path import CompareOperator, Comparison, FilterNode, LogicalExpr, LogicalOperator

from worker.scim.reading import Team


def resource_of(team: Team) -> dict[str, Any]:
    """Return the resource (RFC 7643, 4.2) with its metadata, as JSON values."""
    found: dict[str, Any] = {
        "id": team.id, "displayName": team.name,
        "meta": {
            "resourceType": "Group", "created": team.created_at, "lastModified": team.updated_at, "version": team.version,
        },
    }  # fmt: skip
    if team.external_id is not None:
        found["externalId"] = team.external_id
    if team.members:
        found["members"] = [
            {"value": one.id, "$ref": f"{one.type}s/{one.id}", "type": one.type} for one in team.members
        ]
    return found


@dataclass
class TeamChange:
    """What a client wants of a group. `only`: exactly these are in it; else some are added and some removed."""

    name: str | None = None
    external_id: tuple[str | None] | None = None
    only: dict[str, None] | None = None
    add: dict[str, None] = field(default_factory=dict)
    remove: dict[str, None] = field(default_factory=dict)

    def put_in(self, ids: Iterable[str]) -> None:
        """Add these."""
        for one in ids:
            self.remove.pop(one, None)
            (self.add if self.only is None else self.only)[one] = None

    def take_out(self, ids: Iterable[str]) -> None:
        """Remove these."""
        for one in ids:
            self.add.pop(one, None)
            if self.only is None:
                self.remove[one] = None
            else:
                self.only.pop(one, None)

    def exactly(self, ids: Iterable[str]) -> None:
        """Let these be the only ones."""
        self.only, self.add, self.remove = dict.fromkeys(ids), {}, {}


def between(before: Mapping[str, Any], after: Mapping[str, Any]) -> TeamChange:
    """Say what makes `after` of `before`, two resources of one group as JSON values."""
    found = TeamChange()
    if after.get("displayName") != before.get("displayName"):
        found.name = after.get("displayName")
    if after.get("externalId") != before.get("externalId"):
        found.external_id = (after.get("externalId"),)
    then, now = (_ids(side.get("members") or []) for side in (before, after))
    found.take_out(one for one in then if one not in now)
    found.put_in(one for one in now if one not in then)
    return found


def members_of(resource: Mapping[str, Any]) -> list[str]:
    """Return the ids that a resource names as members. Raises InvalidValueException."""
    return list(_ids(resource.get("members") or []))


def of_patch(patch: "PatchOp[Any]") -> TeamChange | None:
    """Say what a patch wants of a group, whoever is in it; None for one that needs to look at the members first."""
    found = TeamChange()
    for operation in patch.operations or []:
        if not _read(found, operation):
            return None
    return found


def _read(found: TeamChange, operation: "PatchOperation[Any]") -> bool:
    op, value = operation.op.value, operation.value
    if not operation.path:
        return op != "remove" and isinstance(value, Mapping) and _read_whole(found, op, value)
    binding = operation.path.resolve()
    if binding is None or binding.sub_field_name is not None:
        return False
    chosen = operation.path.value_filter
    if binding.field_name == "members" and chosen is not None:
        ids = _chosen(chosen) if op == "remove" and value is None else None
        found.take_out(ids or ())
        return ids is not None
    return _read_one(found, op, binding.field_name, value)


def _read_whole(found: TeamChange, op: str, value: Mapping[str, Any]) -> bool:
    """Read an operation without a path: its value holds attributes."""
    names = {"displayname": "display_name", "externalid": "external_id", "members": "members", "id": "id", "schemas": "schemas"}
    given = {names.get(str(name).casefold()): one for name, one in value.items()}
    return None not in given and all(_read_one(found, op, str(name), one) for name, one in given.items())


def _read_one(found: TeamChange, op: str, name: str, value: Any) -> bool:
    if name == "members":
        if op == "remove":
            found.exactly(()) if value is None else found.take_out(_ids(value))
        elif op == "add":
            found.put_in(_ids(value or []))
        else:
            found.exactly(_ids(value or []))
        return True
    if name == "external_id":
        found.external_id = (None if op == "remove" else value,)
        return op == "remove" or isinstance(value, str)
    if name == "display_name" and op != "remove" and isinstance(value, str) and value:
        found.name = value
        return True
    # Okta repeats the id when it renames a group; it says nothing new.
    return name in ("id", "schemas") and op != "remove"


def _chosen(node: FilterNode) -> list[str] | None:
    """Return the ids that `members[value eq "…" or …]` chooses; None for any other filter."""
    if isinstance(node, LogicalExpr) and node.op == LogicalOperator.or_:
        parts = [_chosen(term) for term in node.terms]
        return None if None in parts else [one for part in parts for one in part or ()]
    if isinstance(node, Comparison) and node.op == CompareOperator.eq and isinstance(node.value, str):
        return [node.value] if str(node.attr_path).casefold() == "value" else None
    return None


def _ids(value: Any) -> dict[str, None]:
    """Return the ids in a list of members, each once. Raises InvalidValueException."""
    found: dict[str, None] = {}
    for entry in value if isinstance(value, list) else [value]:
        named = {str(name).casefold(): one for name, one in entry.items()} if isinstance(entry, Mapping) else {"value": entry}
        one = named.get("value") or str(named.get("$ref") or "").rstrip("/").rpartition("/")[2]
        if not isinstance(one, str) or not one:
            raise InvalidValueException(detail="A member is named by the id of a user or group, as its value.")
        found[one] = None
    return found
