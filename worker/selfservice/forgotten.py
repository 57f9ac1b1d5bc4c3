"""The form for forgotten passwords: the same answer for everybody, and a mail for those who are known."""

import ipaddress
import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection, select

from worker import throttle
from worker.directory import accounts, addresses
from worker.directory.accounts import User
from worker.directory.fields import LONGEST_EMAIL
from worker.intake import Request as Job
from worker.jobs import NameKind, fold
from worker.outcomes import Reject
from worker.redact import storable
from worker.scope import Scope
from worker.selfservice.forms import Form, sent
from worker.selfservice.pages import STYLE, STYLE_HEADERS, PageRoute, Refused, message, onward, page, place_of, reader
from worker.selfservice.recover import SOURCE
from worker.tables import users
from worker.throttle import Limit
from worker.web.gate import address_of, everybody, muster

if TYPE_CHECKING:
    from worker.app import App

log = logging.getLogger(__name__)

# A mailbox is not flooded by whoever knows its name; three mails are enough for the clumsiest.
PER_NAME = Limit("recovery/name", 3, timedelta(minutes=15))
PER_PERSON = Limit("recovery/person", 3, timedelta(minutes=15))
# An office behind one address has a bad Monday; whoever tries names in turn gets no further.
PER_SOURCE = Limit("recovery/source", 20, timedelta(hours=1))
# Few people share an address; more is a switchboard's, and a mail for each would be a flood.
MOST_PEOPLE = 5
# An IPv6 network is one customer's, who can take any address in it (RFC 6177).
IPV6_NETWORK = 64

# Beside the connections: the next request on one of them would wait for it, and so tell who is known by how long.
_LATER = ThreadPoolExecutor(1, thread_name_prefix="recovery")

router = APIRouter(route_class=PageRoute, include_in_schema=False, dependencies=[everybody])


@router.api_route("/recover", methods=["GET", "HEAD"])
def ask(request: Request) -> Response:
    """Show the form."""
    return page(request, "forgot", reader(request), who="")


@router.post("/recover")
def asked(request: Request, form: Form = sent) -> Response:
    """Answer at once and alike; who it is about is looked up only when the answer has left."""
    app = muster(request)
    who = storable(form.get("who", "")).strip()
    to = reader(request)
    if not who:
        return page(request, "forgot", to, status=422, problems=[("who", "who_missing", {})], who="")
    source = address_of(request)
    wait, room = app.database.transact(lambda conn: _count(app, conn, who, source))
    if wait is not None:
        raise Refused(429, "too_many", retry=wait)
    if room:
        _LATER.submit(send, app, who, source)
    return onward(request, "/recover/sent", to)


@router.api_route("/recover/sent", methods=["GET", "HEAD"])
def told(request: Request) -> Response:
    """Say what happens now, whoever was asked for."""
    return message(request, reader(request), "forgot.sent", "next")


@router.api_route("/recover/page.css", methods=["GET", "HEAD"])
def style() -> Response:
    """The style sheet of these pages."""
    return Response(STYLE.read_bytes(), headers=dict(STYLE_HEADERS), media_type="text/css")


def send(app: "App", who: str, source: str) -> None:
    """Accept a recovery mail for whoever is meant; the mail's job finds out whether they may have one."""
    try:
        found = app.database.transact(lambda conn: _submit(app, conn, who, source))
    except Exception as failure:  # the answer has left; what went wrong is for the log
        log.error("selfservice.recovery_failed", extra=place_of(failure))
        return
    for user in found:
        log.info("selfservice.recovery_asked", extra={"user": user.id})
    if found:
        app.ring("send_recovery_email", urgent=False)


def _count(app: "App", conn: Connection, who: str, source: str) -> tuple[timedelta | None, bool]:
    """Return how long this source has to wait, if it has to, and whether this name may be sent something."""
    scope = Scope(conn, app.clock(), app.settings)
    wait = throttle.take(scope, PER_SOURCE, _network(source))
    if wait is not None:
        return wait, False
    return None, throttle.take(scope, PER_NAME, fold(who)) is None


def _submit(app: "App", conn: Connection, who: str, source: str) -> list[User]:
    scope = Scope(conn, app.clock(), app.settings)
    throttle.sweep(scope)
    wanted = [user for user in _meant(scope, who) if throttle.take(scope, PER_PERSON, user.id) is None]
    by = f"somebody at {source}, on the page for forgotten passwords"  # as the mail says it: nobody has proved anything
    app.submit([Job("send_recovery_email", {"user": user.ref}, SOURCE, requested_by=by) for user in wanted], conn=conn)
    return wanted


def _meant(scope: Scope, who: str) -> list[User]:
    """Return the user of that name, and those with that e-mail address."""
    if len(who) > LONGEST_EMAIL:
        return []
    ids = {user_id for user_id in accounts.locate(scope, [(NameKind.USERNAME, who)]) if user_id}
    if "@" in who:
        try:
            folded = addresses.read(scope, who, who).folded
        except Reject:
            folded = ""
        having = select(users.c.id).where(users.c.email_folded == folded).order_by(users.c.id).limit(MOST_PEOPLE)
        ids |= set(scope.conn.execute(having).scalars())
    return list(accounts.by_ids(scope, ids, lock=False).values())


def _network(source: str) -> str:
    """The network that counts as one source: of IPv6 its first half."""
    try:
        address = ipaddress.ip_address(source)
    except ValueError:
        return source
    if address.version == 4:
        return source
    return str(ipaddress.IPv6Network((int(address), IPV6_NETWORK), strict=False))
