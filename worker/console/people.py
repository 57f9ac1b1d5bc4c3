"""People and groups: who there is, and all there is to see of one of them."""

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import Response

from worker import listing
from worker.console import actions, deeds, progress
from worker.console.render import page
from worker.console.search import LONGEST, STATES, Search
from worker.console.session import Visitor, seen_by
from worker.directory import accounts, groups
from worker.ids import is_id
from worker.scope import Scope
from worker.web.gate import muster
from worker.web.problems import Problem

router = APIRouter(include_in_schema=False)

# Rows of a page: as many as somebody looks through before typing a better search.
ROWS = 50
# People are counted so far; beyond it the list says that there are more.
COUNTED = 10_000

#: The tabs of a person's page: the word in the address, what is shown, and the list of the page that it counts.
TABS: tuple[tuple[str, str, str], ...] = (
    ("overview", "Overview", ""),
    ("sessions", "Sessions", "sessions"),
    ("groups", "Groups", "groups"),
    ("events", "Events", ""),
    ("consents", "Consents", "consents"),
    ("tokens", "Refresh tokens", "refresh_tokens"),
    ("mfa", "MFA devices", "mfa_devices"),
    ("permissions", "Permissions", "permissions"),
)
# More sessions, consents or devices than these are counted; nobody has so many for a good reason.
CREDENTIALS_SHOWN = 200


# ------------------------------------------------------------------------------------------------------ people


@router.get("/console/people")
def people(request: Request, visitor: Annotated[Visitor, seen_by("users:read")]) -> Response:
    """The list, by username; pages follow the last username, so that the last one is as quick as the first."""
    search = Search.read(request.query_params)
    wanted = search.wanted()
    after = _after(request)
    with muster(request).database.read() as conn:
        rows = listing.people(conn, limit=ROWS + 1, after=after, **wanted)
        count = listing.people_count(conn, most=COUNTED + 1, **wanted)
    shown = rows[:ROWS]
    following = search.address(after=shown[-1]["username"]) if len(rows) > ROWS else ""
    return page(
        request, visitor, "people/list.html", rows=shown, count=count, counted=COUNTED, search=search, states=STATES,
        following=following, first=search.address() if after else None, new=deeds.offered(visitor.may, "nobody", "people"),
        several=deeds.for_several(visitor.may) if shown else [], most=actions.MOST_PEOPLE,
    )  # fmt: skip


def _after(request: Request) -> str | None:
    given = request.query_params.get("after", "")[:LONGEST].replace("\0", "")
    return given or None


router.include_router(actions.router)
router.include_router(progress.router)


@router.get("/console/people/{person}")
@router.get("/console/people/{person}/{tab}")
def person(request: Request, person: str, visitor: Annotated[Visitor, seen_by("users:read")], tab: str = "overview") -> Response:
    """A person's page, open at a tab."""
    if tab not in {name for name, _, _ in TABS}:
        raise Problem(404, "not_found", "A person's page has no such tab.")
    app = muster(request)
    done = request.query_params.get("done", "")
    standing = progress.standing(app, visitor, done, person=person) if done else None
    with app.database.read() as conn:
        scope = Scope(conn, app.clock(), app.settings)
        user = accounts.by_ids(scope, [person], lock=False).get(person) if is_id(person) else None
        if user is None:
            raise Problem(404, "not_found", "There is nobody with this id. Whoever it was may have been deleted; the list of "
                          "jobs says so.")  # fmt: skip
        found = listing.user_page(scope, user)
        before = request.query_params.get("before", "")
        events = listing.events_of(conn, person, limit=ROWS + 1, before=before if is_id(before) else None) if tab == "events" else []
        manager = accounts.by_ids(scope, [user.manager], lock=False) if user.manager else {}
    facts: dict[str, Any] = {
        "person": found, "tab": tab, "tabs": TABS, "events": events[:ROWS], "most": CREDENTIALS_SHOWN,
        "older": events[ROWS - 1]["id"] if len(events) > ROWS else "", "manager_id": next(iter(manager), None), "paged": bool(before),
        "deeds": {section: deeds.offered(visitor.may, "person", section, found) for section in _SECTIONS},
    }  # fmt: skip
    return page(request, visitor, "people/person.html", done=standing, **facts)


_SECTIONS = ("account", "password", "leaving", *(name for name, _, _ in TABS))


# ------------------------------------------------------------------------------------------------------ groups


@router.get("/console/groups")
def all_groups(request: Request, visitor: Annotated[Visitor, seen_by("users:read")]) -> Response:
    """The groups, by name."""
    search = Search.read(request.query_params)
    after = _after(request)
    with muster(request).database.read() as conn:
        rows = listing.group_list(conn, limit=ROWS + 1, search=search.wanted()["search"], after=after)
    shown = rows[:ROWS]
    following = search.address(after=shown[-1]["name"]) if len(rows) > ROWS else ""
    return page(
        request, visitor, "people/groups.html", rows=shown, search=search, following=following,
        first=search.address() if after else None, new=deeds.offered(visitor.may, "nobody", "groups"),
    )  # fmt: skip


@router.get("/console/groups/{name:path}")
def group(request: Request, name: str, visitor: Annotated[Visitor, seen_by("users:read")]) -> Response:
    """A group: what stands above and below it, its permissions, and its members page by page."""
    app = muster(request)
    after = _after(request)
    with app.database.read() as conn:
        scope = Scope(conn, app.clock(), app.settings)
        found = groups.find(scope, [name], lock=False)[0] if "\0" not in name else None
        if found is None:
            raise Problem(404, "not_found", "There is no group of this name. It may have been renamed or deleted.")
        facts: Mapping[str, Any] = listing.group_page(scope, found)
        members = listing.members_of(scope, found, limit=ROWS + 1, after=after)
    shown = members[:ROWS]
    return page(
        request, visitor, "people/group.html", group=facts, members=shown, place=f"/console/groups/{quote(found.name)}",
        following=shown[-1]["username"] if len(members) > ROWS else "", paged=after is not None,
        deeds=deeds.offered(visitor.may, "group", "group"),
    )  # fmt: skip
