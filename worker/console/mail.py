"""Every mail as people get it."""

from typing import Annotated

from fastapi import APIRouter, Request
from fastapi.responses import Response

from worker.console.render import page
from worker.console.session import Visitor, seen_by

router = APIRouter(include_in_schema=False)


@router.get("/console/mail")
def show(request: Request, visitor: Annotated[Visitor, seen_by()]) -> Response:
    """The page."""
    return page(request, visitor, "mail.html")
