"""Signing in with a token, and out again."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response
from starlette.datastructures import FormData

from worker import api_tokens
from worker.console.render import page, parts_for
from worker.console.session import (
    HOME,
    SIGN_IN,
    Visitor,
    begin,
    cookie_name,
    current,
    drop_cookie,
    end,
    local,
    read_form,
    same_origin,
    seen_by,
    set_cookie,
)
from worker.web.gate import address_of, everybody, limits, muster, too_many

# What a token has to open for a visit to be of any use.
ANY_OF = ("jobs:read", "users:read", "feeds:read")
WRONG = "This token opens nothing here. It may be mistyped, revoked or expired; an administrator can make another one."
TOO_NARROW = "This token may not look at anything. Ask for one with the scope look, operate or admin."

router = APIRouter(include_in_schema=False)


@router.get(SIGN_IN, dependencies=[everybody])
def show(request: Request, next: str = HOME) -> Response:  # noqa: A002 (the word that stands in the address)
    """The page where a token is given; whoever is signed in goes straight on."""
    place = local(next)
    if current(request) is not None:
        return RedirectResponse(place, 303)
    # Coming from a mail or another site, a browser keeps the strict cookie back once; asking again from here it does not.
    again = request.headers.get("sec-fetch-site") == "cross-site" and next != HOME
    return page(request, None, "sign_in.html", problem="", next=place, again=again)


@router.post(SIGN_IN, dependencies=[everybody])
def sign_in(request: Request, form: Annotated[FormData, Depends(read_form)]) -> Response:
    """Open a session for whoever holds the token, and lead on to where they wanted to go."""
    same_origin(request)
    app = muster(request)
    place = local(_text(form, "next") or HOME)
    address = address_of(request)
    if (wait := limits(request).failures.over(address)) is not None:
        raise too_many(wait)
    now = app.clock()
    with app.database.read() as conn:
        found = api_tokens.find(conn, _text(form, "token").strip(), now)
    if found is None:
        limits(request).failures.take(address)
        return page(request, None, "sign_in.html", status=401, problem=WRONG, next=place, again=False)
    caller, _ = found
    if not any(caller.may(scope) for scope in ANY_OF):
        return page(request, None, "sign_in.html", status=403, problem=TOO_NARROW, next=place, again=False)

    def work(conn: Any) -> str:
        api_tokens.note_use(conn, caller.id, now)
        before = request.cookies.get(cookie_name(app.settings))
        if before:
            end(conn, before)
        return begin(conn, caller, now)

    value = app.database.transact(work)
    if place == HOME:  # a token that sees no jobs begins at the first page that it does see
        place = parts_for(Visitor(caller, ""))[0][1]
    response = RedirectResponse(place, 303)
    set_cookie(response, app.settings, value)
    return response


@router.post(f"{HOME}/sign-out")
def sign_out(request: Request, _visitor: Annotated[Visitor, seen_by()]) -> Response:
    """End the session, here and in the database."""
    app = muster(request)
    value = request.cookies.get(cookie_name(app.settings), "")
    app.database.transact(lambda conn: end(conn, value))
    response = RedirectResponse(SIGN_IN, 303)
    drop_cookie(response, app.settings)
    return response


def _text(form: FormData, name: str) -> str:
    value = form.get(name)
    return value if isinstance(value, str) else ""
