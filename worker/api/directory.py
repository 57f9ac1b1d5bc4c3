"""The directory over HTTP, to read: people, what they get in with, groups, and the audit trail."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import ValidationError

from worker import listing
from worker.api.directory_models import (
    EventPage,
    GroupPage,
    GroupShown,
    MemberPage,
    PersonPage,
    PersonShown,
    SessionList,
)
from worker.api.models import Moment, picked, problems
from worker.api.paging import USUAL_PAGE, Cursor, Limit, PathWord, Word, after, page
from worker.directory import accounts, groups
from worker.ids import is_id
from worker.jobs import NameKind, UserRef
from worker.scope import Scope
from worker.web.gate import muster, needs
from worker.web.problems import Problem

router = APIRouter(prefix="/v1", tags=["directory"], dependencies=[needs("users:read")])

_NEXT_LINK = {"headers": {"Link": {"description": 'The next page, rel="next".', "schema": {"type": "string"}}}}


@contextmanager
def _looking(request: Request) -> Iterator[Scope]:
    """A reading transaction at the present moment."""
    app = muster(request)
    with app.database.read() as conn:
        yield Scope(conn, app.clock(), app.settings)


def find_user(scope: Scope, text: str) -> accounts.User | None:
    """Return the account that a username, an id, or external_id:…, id:…, username:… names."""
    kind, _, value = text.partition(":")
    named = {kind: value} if kind in {NameKind.ID, NameKind.EXTERNAL_ID, NameKind.USERNAME} and value else None
    try:
        ref = UserRef.model_validate(named or ({"id": text} if is_id(text) else {"username": text}))
    except ValidationError:
        return None
    return accounts.find(scope, [ref], lock=False)[0]


def find_group(scope: Scope, text: str) -> groups.Group | None:
    """Return the group that a name or an id names."""
    if is_id(text) and (found := groups.by_ids(scope, [text])):
        return found[text]
    return groups.find(scope, [text], lock=False)[0]


def _user(scope: Scope, text: str) -> accounts.User:
    found = find_user(scope, text)
    if found is None:
        raise Problem(404, "unknown_user", "There is no such user. GET /v1/users?search=… looks for similar names.")
    return found


def _group(scope: Scope, text: str) -> groups.Group:
    found = find_group(scope, text)
    if found is None:
        raise Problem(404, "unknown_group", "There is no such group. GET /v1/groups?search=… looks for similar names.")
    return found


# ------------------------------------------------------------------------------------------------------ people


@router.get("/users", operation_id="list_users", summary="List users", response_model=PersonPage,
            responses={200: _NEXT_LINK, **problems()})  # fmt: skip
def list_users(
    request: Request, response: Response,
    search: Annotated[Word | None, Query(description="Only with this in username, name, address or external id.")] = None,
    path: Annotated[Word | None, Query(description="Only at this path or below.")] = None,
    active: Annotated[bool | None, Query(description="Only who is active, or is not.")] = None,
    limit: Limit = USUAL_PAGE, cursor: Cursor = None,
) -> dict[str, Any]:  # fmt: skip
    """List users by username."""
    with _looking(request) as scope:
        rows = listing.people(scope.conn, limit=limit + 1, path=path, search=search, active=active, after=after(cursor))
    return page(request, response, rows, limit, "username")


@router.get("/users/{user}", operation_id="show_user", summary="Show a user", response_model=PersonShown,
            responses=problems(404))  # fmt: skip
def show_user(request: Request, user: PathWord) -> dict[str, Any]:
    """Show a user in full: groups, permissions, credentials (what they are, never what opens the door), latest events."""
    with _looking(request) as scope:
        return listing.user_page(scope, _user(scope, user))


@router.get("/users/{user}/sessions", operation_id="list_sessions", summary="List a user's sessions",
            response_model=SessionList, responses=problems(404))  # fmt: skip
def list_sessions(request: Request, user: PathWord) -> dict[str, Any]:
    """List a user's sessions, the oldest first."""
    with _looking(request) as scope:
        return {"items": listing.user_page(scope, _user(scope, user), events=1)["sessions"]}


@router.get("/users/{user}/events", operation_id="list_user_events", summary="List what happened to a user",
            response_model=EventPage, responses={200: _NEXT_LINK, **problems(404)})  # fmt: skip
def list_user_events(
    request: Request, response: Response, user: PathWord, limit: Limit = USUAL_PAGE, cursor: Cursor = None
) -> dict[str, Any]:
    """List a user's audit trail, the newest first."""
    with _looking(request) as scope:
        rows = listing.trail(scope.conn, limit=limit + 1, target=_user(scope, user).id, before=after(cursor, ids=True))
    return page(request, response, rows, limit, "id")


# ------------------------------------------------------------------------------------------------------ groups


@router.get("/groups", operation_id="list_groups", summary="List groups", response_model=GroupPage,
            responses={200: _NEXT_LINK, **problems()})  # fmt: skip
def list_groups(
    request: Request, response: Response,
    search: Annotated[Word | None, Query(description="Only with this in the name.")] = None,
    limit: Limit = USUAL_PAGE, cursor: Cursor = None,
) -> dict[str, Any]:  # fmt: skip
    """List groups by name."""
    with _looking(request) as scope:
        rows = listing.group_list(scope.conn, limit=limit + 1, search=search, after=after(cursor))
    return page(request, response, rows, limit, "name")


@router.get("/groups/{group}", operation_id="show_group", summary="Show a group", response_model=GroupShown,
            responses=problems(404))  # fmt: skip
def show_group(request: Request, group: PathWord) -> dict[str, Any]:
    """Show a group by name or id: its place in the tree, its permissions, and how many members it has."""
    with _looking(request) as scope:
        return picked(listing.group_page(scope, _group(scope, group)), "members")


@router.get("/groups/{group}/members", operation_id="list_members", summary="List a group's members",
            response_model=MemberPage, responses={200: _NEXT_LINK, **problems(404)})  # fmt: skip
def list_members(
    request: Request, response: Response, group: PathWord, limit: Limit = USUAL_PAGE, cursor: Cursor = None
) -> dict[str, Any]:
    """List the members of a group by username, those of the groups below included."""
    with _looking(request) as scope:
        rows = listing.members_of(scope, _group(scope, group), limit=limit + 1, after=after(cursor))
    return page(request, response, rows, limit, "username")


# ------------------------------------------------------------------------------------------------- audit trail


@router.get("/events", operation_id="list_events", summary="Read the audit trail", response_model=EventPage,
            responses={200: _NEXT_LINK, **problems()})  # fmt: skip
def list_events(
    request: Request, response: Response,
    action: Annotated[Word | None, Query(description="Only this action; `user.*`: all that begin so.")] = None,
    target: Annotated[Word | None, Query(description="Only of this user or group: an id, a username, group:staff.")] = None,
    since: Annotated[Moment | None, Query(description="Only since.")] = None,
    limit: Limit = USUAL_PAGE, cursor: Cursor = None,
) -> dict[str, Any]:  # fmt: skip
    """Read the audit trail, the newest first. Of who was deleted it is found by the id alone."""
    with _looking(request) as scope:
        rows: list[dict[str, Any]] = []
        wanted = None if target is None else _target(scope, target)
        if target is None or wanted is not None:
            rows = listing.trail(
                scope.conn, limit=limit + 1, target=wanted, action=action, since=since, before=after(cursor, ids=True)
            )
    return page(request, response, rows, limit, "id")


def _target(scope: Scope, text: str) -> str | None:
    """The id behind a name; None when there is nobody of that name."""
    if is_id(text):
        return text
    kind, _, name = text.partition(":")
    found = find_group(scope, name) if kind == NameKind.GROUP and name else find_user(scope, text)
    return None if found is None else found.id
