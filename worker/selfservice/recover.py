"""The page behind a recovery or welcome mail: looking spends nothing; setting the password does it all at once."""

import logging
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection

from worker import faultpoints
from worker.directory import passwords, recoveries
from worker.directory.recoveries import Redeemed, Shown
from worker.intake import Request as Job
from worker.outcomes import Reject
from worker.scope import Scope
from worker.selfservice.forms import Form, password_problems, sent, well_formed
from worker.selfservice.pages import PageRoute, Problems, message, onward, page, reader
from worker.web.gate import everybody, muster

if TYPE_CHECKING:
    from worker.app import App

log = logging.getLogger(__name__)

#: The source of all jobs that these pages submit.
SOURCE = "selfservice"

router = APIRouter(route_class=PageRoute, include_in_schema=False, dependencies=[everybody])


class NoticeRefused(RuntimeError):
    """The job that tells a person of their new password was not taken in, so the password was not changed either."""


@router.api_route("/recover/done", methods=["GET", "HEAD"])
def done(request: Request) -> Response:
    """Say that the password is set; the address holds no token."""
    return message(request, reader(request), "recover.done", "notice")


@router.api_route("/recover/{token:path}", methods=["GET", "HEAD"])
def show(request: Request, token: str) -> Response:
    """Show the form behind a link, as often as anybody or any scanner of mails opens it."""
    found = _look(muster(request), token)
    return _dead(request) if found is None else _form(request, found)


@router.post("/recover/{token:path}")
def set_password(request: Request, token: str, form: Form = sent) -> Response:
    """Set the password and spend the link, or say what is wrong with it and spend nothing."""
    app = muster(request)
    found = _look(app, token)
    if found is None:
        return _dead(request)
    about = [found.username, found.name, found.email or "", app.settings.organisation]
    problems = password_problems(form, about)
    if problems:
        return _form(request, found, problems)
    sealed = passwords.hash_password(form["password"], about)  # before the transaction: it takes a while on purpose
    try:
        spent = app.database.transact(lambda conn: spend(app, conn, token, sealed))
    except Reject:
        return _dead(request)
    log.info("selfservice.password_set", extra={"recovery": spent.id, "user": spent.user.id})
    return onward(request, "/recover/done", reader(request, found.locale))


def spend(app: "App", conn: Connection, token: str, password_hash: str) -> Redeemed:
    """Spend a link, store the password, end what hung on the old one, and accept the notice: one transaction.

    Raises Reject bad_recovery and NoticeRefused.
    """
    spent = recoveries.redeem(Scope(conn, app.clock(), app.settings), token, password_hash)
    faultpoints.reached("redeemed")
    kind, fields = spent.follow
    notice = Job(kind, fields, SOURCE, key=f"recovery/{spent.id}", requested_by=spent.user.username)
    [answer] = app.submit([notice], conn=conn)
    if answer.refused:
        raise NoticeRefused(answer.reason_text)
    return spent


def _look(app: "App", token: str) -> Shown | None:
    if not well_formed(token):
        return None
    with app.database.read() as conn:
        return recoveries.look(Scope(conn, app.clock(), app.settings), token)


def _form(request: Request, found: Shown, problems: Problems = ()) -> Response:
    to = reader(request, found.locale, found.zone)
    return page(
        request, "recover", to, status=422 if problems else 200, problems=problems, username=found.username,
        welcome=found.purpose == "welcome", expires_at=found.expires_at, shortest=passwords.SHORTEST,
    )  # fmt: skip


def _dead(request: Request) -> Response:
    """The same page for a link that is unknown, spent, expired or badly copied."""
    return message(request, reader(request), "recover.dead", "used", "next", button="recover.dead_button", status=404)
