"""Listings page by page: where the next one begins, and what a filter in an address may hold."""

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from fastapi import Path, Query, Request, Response

from worker.api.models import Text
from worker.ids import is_id
from worker.redact import storable
from worker.web.problems import Problem

# A page of this length is a few hundred kilobytes; what is longer is read in several.
LONGEST_PAGE = 1_000
USUAL_PAGE = 100
# As long as the longest name; a cursor is such a name in base64.
LONGEST_WORD = 300
LONGEST_CURSOR = 2_000

Limit = Annotated[int, Query(ge=1, le=LONGEST_PAGE, description="At most so many.")]
Cursor = Annotated[str | None, Query(max_length=LONGEST_CURSOR, description="`next` of the page before.")]
Word = Annotated[Text, Query(min_length=1, max_length=LONGEST_WORD)]
PathWord = Annotated[Text, Path(min_length=1, max_length=LONGEST_WORD)]


def after(cursor: str | None, *, ids: bool = False) -> str | None:
    """Return what the page before ended with. Raises Problem 422 for a cursor that no page gave."""
    if cursor is None:
        return None
    try:
        found = base64.b64decode(cursor.encode("ascii"), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        found = ""
    if not found or storable(found) != found or (ids and not is_id(found)):
        problem = "it is not the cursor of a page before"
        raise Problem(
            422, "invalid", f"The request is not acceptable: query.cursor: {problem}.",
            errors=[{"field": "query.cursor", "problem": problem}],
        )  # fmt: skip
    return found


def page(request: Request, response: Response, rows: Sequence[dict[str, Any]], limit: int, mark: str) -> dict[str, Any]:
    """Return one page of rows, of which one more than `limit` was read; `mark` is the field that the next begins after."""
    if len(rows) <= limit:
        return {"items": rows, "next": None}
    cursor = base64.urlsafe_b64encode(str(rows[limit - 1][mark]).encode()).decode()
    asked = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
    address = f"{quote(request.url.path)}?{urlencode([*asked, ('cursor', cursor)])}"
    response.headers["Link"] = f'<{address}>; rel="next"'
    return {"items": rows[:limit], "next": cursor}
