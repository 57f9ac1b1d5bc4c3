"""How far the jobs have come that somebody submitted from a page; and the recovery link, shown once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlalchemy import select

from worker import listing
from worker.console.render import fragment, page
from worker.console.session import Visitor, seen_by
from worker.directory import accounts, recoveries
from worker.ids import is_id
from worker.listing import JobFilter
from worker.outcomes import Reject
from worker.scope import Scope
from worker.states import FINISHED
from worker.tables import job
from worker.web.gate import muster
from worker.web.problems import Problem

if TYPE_CHECKING:
    from worker.app import App

router = APIRouter(include_in_schema=False)

# So many of one submission are named; the others are counted.
SHOWN = 100
LINK = "create_recovery_link"
# What a job does not get out of by itself; there is nothing to wait for on a page.
RESTING = frozenset({*FINISHED, "held", "scheduled", "unknown"})


@dataclass(frozen=True)
class Standing:
    """How the jobs of one submission stand. `person`: whose page shows it; `link`: one can be shown, once."""

    first: str
    last: str
    kind: str
    rows: list[dict[str, Any]]
    counts: Mapping[str, int]
    person: str | None = None
    link: bool = False

    @property
    def total(self) -> int:
        """How many jobs there are."""
        return sum(self.counts.values())

    @property
    def ended(self) -> int:
        """How many have ended, or rest until something happens."""
        return sum(count for state, count in self.counts.items() if state in RESTING)

    @property
    def over(self) -> bool:
        """Whether there is nothing to wait for any more."""
        return set(self.counts) <= RESTING

    @property
    def address(self) -> str:
        """Where this is asked for again."""
        person = f"&person={self.person}" if self.person else ""
        return f"/console/people/done/{self.first}?last={self.last}{person}"


def standing(app: "App", visitor: Visitor, first: str, last: str | None = None, person: str | None = None) -> Standing | None:
    """Return how the jobs stand that this visitor submitted with one form: those of its kind between these two ids."""
    if not is_id(first) or not is_id(last or first) or (person is not None and not is_id(person)):
        return None
    with app.database.read() as conn:
        which = JobFilter(source=visitor.caller.source)
        row = conn.execute(select(job.c.kind, job.c.result).where(job.c.id == first, *which.conditions(conn))).one_or_none()
        if row is None:
            return None
        ids = listing.job_ids(conn, which, job.c.id.between(first, last or first), job.c.kind == row.kind)
        counts = {one["state"]: one["count"] for one in listing.job_counts(conn, JobFilter(ids=ids), by=("state",))}
        rows = listing.jobs(conn, JobFilter(ids=ids[:SHOWN]), limit=SHOWN)
        link = row.kind == LINK and _can_be_shown(Scope(conn, app.clock(), app.settings), row.result)
    return Standing(first, last or first, row.kind, rows[::-1], counts, person, link)


def _can_be_shown(scope: Scope, result: Mapping[str, Any] | None) -> bool:
    try:
        recoveries.rederive(scope, str((result or {}).get("recovery")))
    except Reject:
        return False
    return True


@router.get("/console/people/done/{first}")
def show(request: Request, first: str, visitor: Annotated[Visitor, seen_by("users:read")]) -> Response:
    """Show how far they have come: a page, or for htmx the part that changes.

    Once there is nothing to wait for, htmx loads the person's page anew: what it shows has changed.
    """
    given = request.query_params
    found = standing(muster(request), visitor, first, given.get("last"), given.get("person"))
    if found is None:
        raise _none_of_yours()
    if "hx-request" in request.headers:
        response = fragment(request, visitor, "people/progress.html", done=found)
        if found.over and found.person:
            response.headers["HX-Refresh"] = "true"
        return response
    refused = given.get("refused", "")
    return page(request, visitor, "people/done.html", done=found, refused=refused if refused.isdecimal() else "")


@router.post("/console/people/done/{first}/link")
def reveal(
    request: Request, first: str, visitor: Annotated[Visitor, seen_by("users:read", f"jobs:submit:{LINK}")]
) -> Response:
    """Show the recovery link that this job made: this once, and to whoever submitted the job."""
    app = muster(request)
    found = standing(app, visitor, first)
    if found is None or found.kind != LINK:
        raise _none_of_yours()
    result = found.rows[0]["result"] or {}
    try:
        with app.scope() as scope:
            recovery = recoveries.rederive(scope, str(result.get("recovery")))
            user = accounts.by_ids(scope, [recovery.user_id])[recovery.user_id]  # two who ask at once take turns
            link = recoveries.show(scope, recovery.id, shown_to=visitor.caller.source)
    except Reject:
        raise Problem(
            410, "shown", "The link was shown before, or it is not in force any more. It is shown once; make another one."
        ) from None
    return page(request, visitor, "people/link.html", link=link, until=result.get("expires_at"), user=user)


def _none_of_yours() -> Problem:
    return Problem(404, "not_found", "There are no such jobs that were submitted with your token. The list of jobs has them all.")
