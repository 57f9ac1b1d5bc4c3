"""The page behind an invitation: whoever was invited chooses a username and a password, and the account is opened."""

import logging
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response
from pydantic import TypeAdapter, ValidationError

from worker.directory import invitations, passwords, users
from worker.directory.fields import LONGEST_NAME, LONGEST_USERNAME
from worker.directory.invitations import Invitation
from worker.intake import Request as Job
from worker.mail import wording
from worker.scope import Scope
from worker.selfservice.forms import Form, password_problems, sent, well_formed
from worker.selfservice.pages import PageRoute, Problems, message, onward, page, reader
from worker.selfservice.recover import SOURCE
from worker.states import State
from worker.web.gate import everybody, muster

if TYPE_CHECKING:
    from worker.app import App

log = logging.getLogger(__name__)

router = APIRouter(route_class=PageRoute, include_in_schema=False, dependencies=[everybody])

_USERNAME: TypeAdapter[str] = TypeAdapter(users.Username)
_NAME: TypeAdapter[str] = TypeAdapter(users.PersonName)


@router.api_route("/invite/done", methods=["GET", "HEAD"])
def done(request: Request) -> Response:
    """Say that the account is open; the address holds no token."""
    return message(request, reader(request), "invite.done")


@router.api_route("/invite/{token:path}", methods=["GET", "HEAD"])
def show(request: Request, token: str) -> Response:
    """Show the form behind an invitation, as often as anybody opens it."""
    found = _look(muster(request), token)
    return _dead(request) if found is None else _form(request, found[0], {})


@router.post("/invite/{token:path}")
def accept(request: Request, token: str, form: Form = sent) -> Response:
    """Open the account; whatever stands in the way is said on the form, and the invitation stays open."""
    app = muster(request)
    looked = _look(app, token)
    if looked is None:
        return _dead(request)
    found, proof = looked
    username, name = form.get("username", "").strip(), form.get("name", "").strip()
    about = [username, name, found.name or "", found.email, app.settings.organisation]
    problems = [*_name_problems(username, name), *password_problems(form, about)]
    if problems:
        return _form(request, found, form, problems)
    fields: dict[str, Any] = {
        "invitation": found.id, "proof": proof, "username": username,
        "password_hash": passwords.hash_password(form["password"], about), **({"name": name} if name else {}),
    }  # fmt: skip
    answer = app.submit_and_run(Job("accept_invitation", fields, SOURCE, requested_by=found.email))
    log.info("selfservice.invitation", extra={"invitation": found.id, "job": answer.id, "state": answer.state})
    to = reader(request)
    if answer.state == State.SUCCEEDED:
        return onward(request, "/invite/done", to)
    if answer.reason == "bad_invitation":
        return _dead(request)
    if answer.reason == "username_taken":
        return _form(request, found, form, [("username", "username_taken", {})])
    if answer.refused or answer.state in (State.REJECTED, State.FAILED, State.CANCELLED):
        return message(request, to, "invite.refused", status=409)
    return message(request, to, "invite.waiting", "next", status=202)


def _look(app: "App", token: str) -> tuple[Invitation, str] | None:
    """The invitation, and what stands in for its token in a job."""
    if not well_formed(token):
        return None
    with app.database.read() as conn:
        scope = Scope(conn, app.clock(), app.settings)
        found = invitations.look(scope, token)
        return None if found is None else (found, invitations.proof(scope, found))


def _name_problems(username: str, name: str) -> Problems:
    found: list[tuple[str, str, dict[str, Any]]] = []
    if not username:
        found.append(("username", "username_missing", {}))
    elif _unfit(_USERNAME, username):
        found.append(("username", "username_bad", {"longest": LONGEST_USERNAME}))
    if _unfit(_NAME, name):
        found.append(("name", "name_bad", {"longest": LONGEST_NAME}))
    return found


def _unfit(field: TypeAdapter[str], text: str) -> bool:
    try:
        field.validate_python(text)
    except ValidationError:
        return True
    return False


def _form(request: Request, found: Invitation, form: Form, problems: Problems = ()) -> Response:
    return page(
        request, "invite", reader(request), status=422 if problems else 200, problems=problems, inviter=found.invited_by,
        email=found.email, username=wording.harmless(form.get("username", "")),
        name=wording.harmless(form.get("name", found.name or "")),
        expires_at=found.expires_at, shortest=passwords.SHORTEST,
    )  # fmt: skip


def _dead(request: Request) -> Response:
    """The same page for an invitation that is unknown, accepted, expired, taken back or badly copied."""
    return message(request, reader(request), "invite.dead", "used", "next", status=404)
