"""The steps that somebody takes at the console: open a form, look at what it would change, confirm."""

from collections.abc import Mapping
from typing import Any

import httpx
from sheet import Sheet, Typed


def opened(client: httpx.Client, kind: str, **about: Any) -> Sheet:
    """Open the form of a job."""
    sheet = Sheet(client.get(f"/console/people/do/{kind}", params=about))
    assert sheet.status == 200, sheet.text
    return sheet


def looked(client: httpx.Client, kind: str, *, on: Mapping[str, Any] | None = None, typed: Typed | None = None, **more: str) -> Sheet:
    """Fill the form in and go on to the second step."""
    form = opened(client, kind, **(on or {})).form("/console/people/do/")
    return Sheet(form.send(client, "Show what", {**(typed or {}), **more}))


def confirmed(client: httpx.Client, sheet: Sheet, button: str, **typed: str) -> httpx.Response:
    """Press the button of the second step."""
    return sheet.form("/console/people/do/").send(client, button, typed)
