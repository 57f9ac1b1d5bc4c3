"""Puts right, before it is read, what clients are known to send otherwise than RFC 7644 says."""

import json
from collections.abc import Mapping
from typing import Any

from scim2_models import InvalidPathException, PayloadTooLargeException

from worker.scim.description import ENTERPRISE

# No client sends more than a few dozen; each is applied to the whole record.
MOST_OPERATIONS = 1_000

# Longer than any that a client writes; reading one of a megabyte would take the machine for seconds.
LONGEST_PATH = 4_096

_MANAGER = f"{ENTERPRISE}:manager".casefold()
_OPS = "operations"


def tidy(method: str, path: str, body: bytes) -> bytes:
    """Return the body of a request as the protocol core reads it; what is no JSON object is left to the core's error.

    A manager given as a bare text (Entra) becomes an object, an empty one nobody. Raises PayloadTooLargeException and InvalidPathException.
    """
    if method not in ("POST", "PUT", "PATCH") or not body or path.rstrip("/").endswith("/.search"):
        return body
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        return body
    if not isinstance(given, dict):
        return body
    if path.strip("/").casefold() == "bulk":
        for operation in _named(given, _OPS):
            _tidy_bulk(operation)
    elif method == "PATCH":
        _tidy_patch(given)
    else:
        _tidy_resource(given)
    return json.dumps(given).encode()


def _tidy_bulk(operation: Any) -> None:
    if not isinstance(operation, dict):
        return
    data = next((value for name, value in operation.items() if name.casefold() == "data"), None)
    if not isinstance(data, dict):
        return
    method = next((value for name, value in operation.items() if name.casefold() == "method"), None)
    if isinstance(method, str) and method.upper() == "PATCH":
        _tidy_patch(data)
    else:
        _tidy_resource(data)


def _tidy_patch(patch: dict[str, Any]) -> None:
    operations = _named(patch, _OPS)
    if len(operations) > MOST_OPERATIONS:
        raise PayloadTooLargeException(detail=f"A patch may hold {MOST_OPERATIONS} operations; send it in parts.")
    for operation in operations:
        if not isinstance(operation, dict):
            continue
        path = str(operation.get("path") or "").strip()
        if len(path) > LONGEST_PATH:
            raise InvalidPathException(detail=f"A path may have {LONGEST_PATH} characters at most.")
        if path.casefold() in (_MANAGER, "manager"):
            operation["path"] = f"{ENTERPRISE}:manager"
            _tidy_manager_operation(operation)
        elif path.casefold() == ENTERPRISE.casefold() and isinstance(operation.get("value"), dict):
            _tidy_enterprise(operation["value"])
        elif not path and isinstance(operation.get("value"), dict):
            _tidy_resource(operation["value"])


def _tidy_manager_operation(operation: dict[str, Any]) -> None:
    if str(operation.get("op")).casefold() == "remove":
        operation.pop("value", None)
        return
    manager = _manager(operation.get("value"))
    if manager is None:
        operation["op"] = "remove"
        operation.pop("value", None)
    else:
        operation["value"] = manager


def _tidy_resource(resource: dict[str, Any]) -> None:
    for name in list(resource):
        if name.casefold() == ENTERPRISE.casefold() and isinstance(resource[name], dict):
            _tidy_enterprise(resource[name])
        elif name.casefold() == _MANAGER:
            resource[name] = _manager(resource[name])


def _tidy_enterprise(extension: dict[str, Any]) -> None:
    for name in list(extension):
        if name.casefold() == "manager":
            extension[name] = _manager(extension[name])


def _manager(given: Any) -> Any:
    """Return a manager as an object; None for nobody."""
    if isinstance(given, list):
        given = given[0] if given else None
    if isinstance(given, str):
        given = {"value": given}
    if isinstance(given, Mapping):
        said = [one for name, one in given.items() if name.casefold() in ("value", "$ref")]
        return given if any(said) else None
    return given


def _named(given: Mapping[str, Any], name: str) -> list[Any]:
    found = next((value for key, value in given.items() if key.casefold() == name), None)
    return found if isinstance(found, list) else []
