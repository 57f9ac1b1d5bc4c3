"""SCIM filters and orders (RFC 7644, 3.4.2) as SQL, meaning the same as scim2-models' own evaluation in memory."""

from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from scim2_models import InvalidFilterException, InvalidPathException, ScimFilter
from scim2_models.path import (
    AttributeBinding,
    AttrPath,
    CompareOperator,
    Comparison,
    FilterNode,
    FilterVisitor,
    LogicalExpr,
    LogicalOperator,
    Not,
    Present,
    ValuePath,
    coerce_value,
)
from sqlalchemy import String, and_, case, false, func, literal, not_, or_, true

from worker.redact import unstorable
from worker.scim.description import ENTERPRISE
from worker.scim.places import Entries, Places, Value
from worker.scim.spots import Path
from worker.scim.sql import Sql, Words, folded

# Each comparison is a look into a JSON value for each person; no client sends more than three.
MOST_COMPARISONS = 50
# Many times what a client writes; reading one of a megabyte would take the machine for seconds.
LONGEST_FILTER = 8_192

_SAYING: dict[CompareOperator, Callable[[Any, Any], Sql]] = {
    CompareOperator.eq: lambda left, right: left == right,
    CompareOperator.gt: lambda left, right: left > right,
    CompareOperator.ge: lambda left, right: left >= right,
    CompareOperator.lt: lambda left, right: left < right,
    CompareOperator.le: lambda left, right: left <= right,
}


def path_of(binding: AttributeBinding) -> Path:
    """Return the place of an attribute in the resource, enterprise attributes below their URN."""
    schema, _, names = binding.urn.rpartition(":")
    path = tuple(names.split("."))
    return (ENTERPRISE, *path) if schema.casefold() == ENTERPRISE.casefold() else path


def condition(scim_filter: ScimFilter[Any], places: Places, words: Words) -> Sql:
    """Return the filter as a condition that is true or false for each record, never unknown.

    `scim_filter` is bound to one model. Raises InvalidFilterException for what cannot be asked for.
    """
    if _comparisons(scim_filter.ast) > MOST_COMPARISONS:
        raise InvalidFilterException(detail=f"A filter may hold {MOST_COMPARISONS} comparisons at most.")
    return _Condition(scim_filter, places, words).visit(scim_filter.ast)


def order(binding: AttributeBinding, places: Places, words: Words) -> Sql:
    """Return what records are sorted by, NULL for those that have no value. Raises InvalidPathException."""
    path = path_of(binding)
    value = places.single(path)
    if value is None and (entries := places.many(path[0])) is not None:
        value = entries.leading(path[1]) if path[1:] and path[1] in entries.fields else None
    if value is None:
        raise InvalidPathException(detail=f"People and groups cannot be sorted by {'.'.join(path)}.")
    if value.kind != "text":
        return value.sql
    return words.by_code_point(value.sql if value.exact else words.fold(value.sql))


def _comparisons(node: FilterNode) -> int:
    if isinstance(node, LogicalExpr):
        return sum(_comparisons(term) for term in node.terms)
    if isinstance(node, Not):
        return _comparisons(node.expr)
    return _comparisons(node.val_filter) if isinstance(node, ValuePath) else 1


class _Condition(FilterVisitor[Sql]):
    def __init__(
        self, scim_filter: ScimFilter[Any], places: Places, words: Words, inside: tuple[AttrPath, Entries] | None = None
    ) -> None:
        """`inside`: the list whose entries are being chosen among, within square brackets."""
        self.filter, self.places, self.words, self.inside = scim_filter, places, words, inside

    def visit_logical_expr(self, node: LogicalExpr) -> Sql:
        return (and_ if node.op == LogicalOperator.and_ else or_)(*(self.visit(term) for term in node.terms))

    def visit_not(self, node: Not) -> Sql:
        return not_(self.visit(node.expr))

    def visit_value_path(self, node: ValuePath) -> Sql:
        binding = self.filter.resolve(node.attr_path, strict=False)
        if binding is None:
            return false()
        entries = self._entries(binding)
        chosen = _Condition(self.filter, self.places, self.words, (node.attr_path, entries)).visit(node.val_filter)
        return and_(*(_narrowed(entries, text) for text in _values(node.val_filter)), entries.any(chosen))

    def visit_present(self, node: Present) -> Sql:
        binding = self.filter.resolve(self._whole(node.attr_path), strict=False)
        if binding is None:
            return false()
        path = path_of(binding)
        if self.inside is not None:
            return _there(self._field(self.inside[1], path))
        if (value := self.places.single(path)) is not None:
            return _there(value)
        if binding.is_multivalued:
            entries = self._entries(binding)
            fields = [self._field(entries, path)] if binding.sub_field_name else list(entries.fields.values())
            return entries.any(or_(*(_there(value) for value in fields)))
        if parts := self.places.below(path):
            return or_(*(_there(value) for value in parts))
        raise _cannot(path)

    def visit_comparison(self, node: Comparison) -> Sql:
        binding = self.filter.resolve_comparison(self._whole(node.attr_path), strict=False)
        if binding is None:
            return false()
        wanted = _plain(coerce_value(binding, node.value, node.op))
        path = path_of(binding)
        if self.inside is not None:
            return self._compare(self._field(self.inside[1], path), node.op, wanted)
        if not binding.is_multivalued:
            value = self.places.single(path) or self.places.single((*path, "value"))
            if value is None:
                raise _cannot(path)
            return self._compare(value, node.op, wanted)
        entries = self._entries(binding)
        value = self._field(entries, path)
        if node.op != CompareOperator.ne:
            found = entries.any(self._compare(value, node.op, wanted))
            if node.op == CompareOperator.eq and path[-1] == "value" and isinstance(wanted, str):
                found = and_(_narrowed(entries, wanted), found)
            nothing = node.op == CompareOperator.eq and wanted is None
            return or_(found, not_(entries.any(true()))) if nothing else found
        # "Not equal" means that no entry is equal; to nothing, that there are entries and each says something.
        equal = entries.any(self._compare(value, CompareOperator.eq, wanted))
        return and_(entries.any(true()), not_(equal)) if wanted is None else not_(equal)

    def _whole(self, attr_path: AttrPath) -> AttrPath:
        """Return a path within brackets as the path from the record."""
        if self.inside is None:
            return attr_path
        if attr_path.sub_attr is not None or attr_path.uri is not None:
            raise InvalidFilterException(detail=f"{attr_path} is no part of {self.inside[0]}.")
        return AttrPath(self.inside[0].attr, attr_path.attr, self.inside[0].uri)

    def _entries(self, binding: AttributeBinding) -> Entries:
        entries = self.places.many(path_of(binding)[0])
        if entries is None:
            raise _cannot(path_of(binding))
        return entries

    @staticmethod
    def _field(entries: Entries, path: Path) -> Value:
        found = entries.fields.get(path[-1])
        if found is None or len(path) < 2:
            raise _cannot(path)
        return found

    def _compare(self, value: Value, op: CompareOperator, wanted: Any) -> Sql:
        if wanted is None:
            if op in (CompareOperator.eq, CompareOperator.ne):
                return value.sql.is_(None) if op == CompareOperator.eq else value.sql.is_not(None)
            return false()
        if op == CompareOperator.ne:
            return not_(self._compare(value, CompareOperator.eq, wanted))
        if not isinstance(wanted, _TYPES[value.kind]):
            return false()
        return func.coalesce(self._known(value, op, wanted), false())

    def _known(self, value: Value, op: CompareOperator, wanted: Any) -> Sql:
        """Compare where there is a value."""
        if value.kind != "text":
            return _SAYING[op](value.sql, wanted)
        if op == CompareOperator.eq and value.equal is not None:
            return value.equal(wanted)
        left = value.sql if value.exact else self.words.fold(value.sql)
        right = wanted if value.exact else folded(wanted) or ""
        if op in _SAYING:
            return _SAYING[op](left if op == CompareOperator.eq else self.words.by_code_point(left), right)
        # No LIKE: its wildcards would be a second language within what clients send.
        size = len(right)
        if op == CompareOperator.co:
            place: Sql = func.strpos(left, right) if self.words.postgresql else func.instr(left, right)
            return place > 0
        if op == CompareOperator.sw:
            beginning: Sql = func.substr(left, 1, size, type_=String())
            return beginning == right
        start = func.length(left) - size + 1
        return case((start > 0, func.substr(left, start, type_=String()) == right), else_=false())


def _values(node: FilterNode) -> list[str]:
    """Return the texts that the `value` of an entry must be for it to be chosen."""
    if isinstance(node, LogicalExpr) and node.op == LogicalOperator.and_:
        return [text for term in node.terms for text in _values(term)]
    if isinstance(node, Comparison) and node.op == CompareOperator.eq and isinstance(node.value, str):
        return [node.value] if str(node.attr_path).casefold() == "value" else []
    return []


def _narrowed(entries: Entries, text: str) -> Sql:
    return true() if entries.narrow is None or unstorable(text) else entries.narrow(text)


_TYPES: dict[str, type] = {"text": str, "flag": bool, "moment": datetime}


def _there(value: Value) -> Sql:
    """Say that there is a value, and not an empty one."""
    if value.kind != "text":
        return value.sql.is_not(None)
    return func.coalesce(value.sql != literal(""), false())


def _plain(value: Any) -> Any:
    """Return what is compared with as the databases know it. Raises InvalidFilterException."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, bytes):
        import base64

        return base64.b64encode(value).decode()
    if isinstance(value, datetime):
        return value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    if isinstance(value, str):
        if problem := unstorable(value):
            raise InvalidFilterException(detail=f"A text in the filter cannot be compared with anything: {problem}.")
        return str(value)
    return value


def _cannot(path: Path) -> InvalidFilterException:
    return InvalidFilterException(detail=f"The attribute {'.'.join(path)} cannot be used in this filter.")
