"""Mails in the console: every template as people would receive it, on a desk and on a phone."""

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from worker.app import App
from worker.console.render import page
from worker.console.session import HOME, Visitor, seen_by
from worker.mail.render import Rendered, TemplateProblem, Templates
from worker.mail.room import templates
from worker.mail.samples import languages, mail_classes
from worker.mail.wording import FALLBACK_LANGUAGE
from worker.web.gate import muster
from worker.web.problems import Problem

MAIL = f"{HOME}/mail"
#: What a preview is as wide as, in CSS pixels: a mail program on a desk, and a small phone.
WIDTHS = (("desk", 600), ("phone", 320))
# A mail brings its own styles and may load nothing; a browser gives it neither scripts nor our cookies.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'self'; sandbox"
)

router = APIRouter(include_in_schema=False)


@router.get(MAIL)
def show(request: Request, visitor: Annotated[Visitor, seen_by()]) -> Response:
    """Every mail there is, with its subject."""
    app = muster(request)
    written = templates(app.settings)
    rows = []
    for name, mail in mail_classes(app.registry).items():
        try:
            subject, problem = written.render(name, mail.sample(), locale=app.settings.locale, zone=app.settings.zone).subject, ""
        except TemplateProblem as error:
            subject, problem = "", str(error)
        rows.append({
            "name": name, "summary": app.registry[name].summary, "subject": subject, "problem": problem,
            "languages": languages(written.folders, name),
        })  # fmt: skip
    return page(request, visitor, "mail.html", rows=rows, path=MAIL, folder=str(app.settings.templates or ""))


@router.get(f"{MAIL}/{{name}}")
def show_one(request: Request, visitor: Annotated[Visitor, seen_by()], name: str, lang: str = "") -> Response:
    """One mail: how it looks at both widths, its text, and what stands at its top."""
    app = muster(request)
    written, spoken = templates(app.settings), _language(app, name, lang)
    problem, mail = "", None
    try:
        mail = _rendered(app, written, name, spoken)
    except TemplateProblem as error:
        problem = str(error)
    here = f"{MAIL}/{name}"
    return page(
        request, visitor, "mail_one.html", status=200 if mail else 422, kind=name, mail=mail, problem=problem, path=MAIL,
        summary=app.registry[name].summary, sender=app.settings.mail_from, widths=WIDTHS, here_url=here,
        tabs=[(one, f"{here}?{urlencode({'lang': one})}") for one in languages(written.folders, name)],
        current=f"{here}?{urlencode({'lang': spoken})}", frame=f"{here}/html?{urlencode({'lang': spoken})}",
    )  # fmt: skip


@router.get(f"{MAIL}/{{name}}/html", dependencies=[seen_by()])
def html(request: Request, name: str, lang: str = "") -> Response:
    """The mail alone, for the frames of its page."""
    app = muster(request)
    try:
        mail = _rendered(app, templates(app.settings), name, _language(app, name, lang))
    except TemplateProblem as error:
        raise Problem(422, "template_broken", str(error)) from None
    headers = {
        "Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "X-Frame-Options": "SAMEORIGIN",
        "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
    }  # fmt: skip
    return HTMLResponse(mail.html, headers=headers)


def _language(app: App, name: str, wanted: str) -> str:
    """The language asked for, if the mail is written in it. Raises Problem 404 for a mail that there is not."""
    known = mail_classes(app.registry)
    if name not in known:
        raise Problem(404, "unknown_mail", f"There is no mail of this name. The mails are: {', '.join(known)}.")
    spoken = languages(templates(app.settings).folders, name)
    own = wanted or app.settings.locale
    return own if own in spoken else FALLBACK_LANGUAGE


def _rendered(app: App, written: Templates, name: str, language: str) -> Rendered:
    sample: Any = mail_classes(app.registry)[name].sample()
    return written.render(name, sample, locale=language, zone=app.settings.zone)
