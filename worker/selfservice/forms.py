"""Reads what a person typed into a form, from our own pages alone and no more than fits."""

import re
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from fastapi import Depends, Request
from starlette.requests import ClientDisconnect

from worker.directory import passwords
from worker.directory.passwords import WeakPassword
from worker.selfservice.pages import Problems, Refused
from worker.web.gate import muster

# Two passwords of the greatest length, each letter four bytes and each byte three characters, with room for a name.
LONGEST_FORM = 2 * passwords.LONGEST * 12 + 8 * 1024
MOST_FIELDS = 10
MEDIA_TYPE = "application/x-www-form-urlencoded"
# HMAC-SHA256 in base64url, as worker/directory/tokens.py makes them.
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)

Form = dict[str, str]


async def read_form(request: Request) -> Form:
    """Return the fields of a form that one of our pages sent. Raises Refused."""
    if not _from_here(request):
        raise Refused(403, "elsewhere")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != MEDIA_TYPE:
        raise Refused(415, "elsewhere")
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > LONGEST_FORM:
                raise Refused(413, "elsewhere")
    except ClientDisconnect:
        raise Refused(400, "elsewhere") from None
    try:
        fields = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict")
    except ValueError:  # too many fields, or not the UTF-8 that our pages send
        raise Refused(400, "elsewhere") from None
    return dict(fields)


#: What a route declares to get the form.
sent: Any = Depends(read_form)


def _from_here(request: Request) -> bool:
    """Whether a page of ours sent this, as far as the browser says (Fetch Metadata; else Origin, RFC 6454).

    The pages send no referrer, so that Origin may be "null"; without cookies there is nothing to ride on, and the
    link's token is what a forger would have to know.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("origin")
    if origin is None or origin == "null":
        return True
    own = {request.headers.get("host", "").lower(), urlsplit(muster(request).settings.public_url or "").netloc.lower()}
    return urlsplit(origin).netloc.lower() in own - {""}


def well_formed(token: str) -> bool:
    """Whether this could be the token of a link at all; anything else is asked of no database."""
    return _TOKEN.fullmatch(token) is not None


def password_problems(form: Form, about: list[str]) -> Problems:
    """Return what is wrong with the password and its repetition, one thing at a time; nothing when both are good."""
    password = form.get("password", "")
    try:
        passwords.check(password, about)
    except WeakPassword as problem:
        facts = {"given": len(password), "shortest": passwords.SHORTEST, "longest": passwords.LONGEST}
        return [("password", problem.code, facts)]
    if form.get("repeat", "") != password:
        return [("repeat", "different", {})]
    return []
