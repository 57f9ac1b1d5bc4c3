"""Doing something from a page: a form, then what it would change, then a job whose progress is shown.

Nothing is done before the second step was seen. A form can be sent twice, by a double click or by going back: it is one
job, as its key follows from a number in the form and from what was asked. A password is typed in the second step and
leaves as a hash with it, so it never stands in a page; what its job would change is tried with a hash of nothing.
"""

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from starlette.datastructures import FormData, QueryParams

from worker import dryrun, intake, listing, power
from worker.console import deeds
from worker.console.deeds import Deed
from worker.console.forms import JobForm, Typed
from worker.console.render import page
from worker.console.search import Search
from worker.console.session import Form, Visitor, seen_by
from worker.directory import accounts, groups, passwords
from worker.directory.accounts import User
from worker.directory.tokens import fresh
from worker.ids import is_id
from worker.intake import Acceptance
from worker.jobs import Kind, canonical, digest, fold
from worker.redact import unstorable
from worker.scope import Scope
from worker.screen import shown
from worker.web.gate import muster
from worker.web.problems import Problem

if TYPE_CHECKING:
    from worker.app import App

router = APIRouter(include_in_schema=False)

# More people at once belong into a feed or a batch: nobody looks through them on a page.
MOST_PEOPLE = 1_000
# So many are tried and shown before it is confirmed; each trial is a transaction of its own.
TRIED = 100
_NONCE = re.compile(r"[0-9a-f]{32}")
# A number that says nothing to a person; what it ends is counted beside it.
_UNSAID = frozenset({"user epoch"})
PASSWORD = "password_hash"  # noqa: S105 (the name of a field)


@dataclass(frozen=True)
class Ask:
    """What somebody is about to do: the job, to whom, and what they typed. `present`: what the form began with."""

    deed: Deed
    kind: Kind
    form: JobForm
    people: Sequence[User]
    group: str | None
    typed: Typed
    present: Mapping[str, Any]
    nonce: str
    why: str

    @property
    def named(self) -> str:
        """Whom it is done to, as it has to be typed for what is dangerous."""
        if len(self.people) == 1:
            return self.people[0].username
        return self.group or str(len(self.people))

    def fields(self, changed: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The payload of each job."""
        fixed = {name: self.present[name] for name in ("expected_version",) if name in self.present}
        if self.group is not None:
            return [{"group": self.group, **changed}]
        if self.deed.on == "nobody":
            return [dict(changed)]
        return [{"user": one.ref, **fixed, **changed} for one in self.people]

    def hidden(self) -> list[tuple[str, str]]:
        """What the next step has to know, as hidden inputs."""
        return [*self.about(), ("why", self.why), *[(name, text) for name, texts in self.typed.items() for text in texts]]

    def about(self) -> list[tuple[str, str]]:
        """Whom it is about, and which form it is."""
        found = [("nonce", self.nonce), ("present", json.dumps(self.present, ensure_ascii=False))]
        if self.people:
            found.append(("user", " ".join(one.id for one in self.people)))
        return found + ([("group", self.group)] if self.group is not None else [])


# ------------------------------------------------------------------------------------------------------- pages


@router.get("/console/people/do/{kind}")
def fill_in(request: Request, kind: str, visitor: Annotated[Visitor, seen_by("users:read", "jobs:submit:{kind}")]) -> Response:
    """Show the form, filled with the present values, or with what the address says."""
    ask = _ask(request, kind, request.query_params, begin=True)
    if not ask.form.inputs and not ask.people and ask.group is None:
        raise _not_here(kind)
    return _form_page(request, visitor, ask)


@router.post("/console/people/do/{kind}")
def take(
    request: Request, kind: str, visitor: Annotated[Visitor, seen_by("users:read", "jobs:submit:{kind}")], form: Form
) -> Response:
    """Take the form one step on: more rows, back to the form, what it would change, or done."""
    ask = _ask(request, kind, form, begin=False)
    step = form.get("step")
    if step in {"rows", "edit"}:
        return _form_page(request, visitor, ask)
    read = ask.form.read(ask.typed, ask.present)
    fields = ask.fields(read.fields)
    known = {one.name for one in ask.form.inputs}
    problems = dict(read.problems)
    for name, said in ask.form.problems(fields[0], _stand_in(ask.kind)).items():
        if name not in problems:
            problems[name if name in known else ""] = said
    if problems:
        return _form_page(request, visitor, ask, problems)
    _within_reach(muster(request), visitor, ask, fields)
    if step != "confirm":
        return _look_page(request, visitor, ask, fields)
    sealed, wrong = _sealed(ask, form)
    payload = ask.kind.payload.model_validate({**fields[0], **(_stand_in(ask.kind) or {})})
    if deeds.dangerous(ask.kind, payload, len(ask.people) > 1) and fold(str(form.get("typed") or "")) != fold(ask.named):
        wrong["typed"] = f"This is not “{ask.named}”. Nothing was done."
    if wrong:
        return _look_page(request, visitor, ask, fields, wrong)
    secret = str(form.get("password") or "")
    answers = _submit(muster(request), visitor, ask, fields, sealed, secret)
    return _answered(request, visitor, ask, fields, answers)


def _within_reach(app: "App", visitor: Visitor, ask: Ask, fields: Sequence[Mapping[str, Any]]) -> None:
    """Raise Problem 403 for what reaches further than its kind says and than this visitor may."""
    wanted = [intake.Request(ask.kind.name, {**one, **(_stand_in(ask.kind) or {})}, visitor.caller.source) for one in fields]
    for reach in power.beyond(app, visitor.caller, wanted).values():
        raise Problem(
            403, "not_allowed", f"{reach.why}: for that your token lacks the scope {reach.scope}. Nothing was done; an "
            "administrator can do it.",
        )  # fmt: skip


def _answered(
    request: Request, visitor: Visitor, ask: Ask, fields: Sequence[Mapping[str, Any]], answers: Sequence[Acceptance]
) -> Response:
    """Lead to where the progress is shown; back, if nothing was taken in."""
    ids = sorted(answer.id for answer in answers if answer.id is not None)
    refused = [answer for answer in answers if answer.refused]
    if not ids:
        return _look_page(request, visitor, ask, fields, {"": refused[0].reason_text or "It was refused."})
    here = len(ask.people) == 1 and ask.kind.name != "delete_user"
    place = f"/console/people/{ask.people[0].id}?done={ids[0]}" if here else f"/console/people/done/{ids[0]}?last={ids[-1]}"
    return RedirectResponse(place + (f"&refused={len(refused)}" if refused else ""), 303)


def _form_page(request: Request, visitor: Visitor, ask: Ask, problems: Mapping[str, str] | None = None) -> Response:
    return page(
        request, visitor, "people/act.html", status=422 if problems else 200, ask=ask, back=_back(ask),
        inputs=ask.form.filled(ask.typed, problems), problem=(problems or {}).get(""), wrong=bool(problems),
        rows=any(one.kind == "mapping" for one in ask.form.inputs), why_longest=intake.WORDS_LENGTH,
    )  # fmt: skip


def _look_page(
    request: Request, visitor: Visitor, ask: Ask, fields: Sequence[Mapping[str, Any]], wrong: Mapping[str, str] | None = None
) -> Response:
    """Show what it would change."""
    app = muster(request)
    trials = []
    sealed = _stand_in(ask.kind) or {}
    for one in fields[:TRIED]:
        wanted = intake.Request(
            ask.kind.name, {**one, **sealed}, visitor.caller.source, requested_by=visitor.caller.source, why=ask.why or None
        )
        trials.append(dryrun.preview(app, wanted))
    payload = ask.kind.payload.model_validate({**fields[0], **sealed})
    several = len(ask.people) > 1
    whom: list[User | None] = [*ask.people] or [None]
    return page(
        request, visitor, "people/look.html", status=422 if wrong else 200, ask=ask, back=_back(ask), wrong=wrong or {},
        trials=[_said(app, trial) | {"person": one} for trial, one in zip(trials, whom, strict=False)],
        untried=max(0, len(fields) - TRIED), several=several, possible=any(_possible(trial) for trial in trials),
        dangerous=deeds.dangerous(ask.kind, payload, several), password=PASSWORD in ask.kind.payload.sealed_fields,
        shortest=passwords.SHORTEST, choices=_choices(ask, fields[0]),
    )  # fmt: skip


def _possible(trial: dryrun.Preview) -> bool:
    return trial.state in {"succeeded", "put off"}


def _choices(ask: Ask, fields: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was chosen in the form, for the second step to repeat."""
    return [(one.label, shown(fields[one.name])) for one in ask.form.inputs if one.name in fields]


def _said(app: "App", trial: dryrun.Preview) -> dict[str, Any]:
    """A trial in words; ids of people as usernames."""
    values = [change[side] for change in trial.changes for side in ("before", "after")]
    ids = sorted({value for value in values if isinstance(value, str) and is_id(value)})
    with app.database.read() as conn:
        names = dict(zip(ids, listing.abouts(conn, [{"user": one} for one in ids]), strict=True))
    return {
        "state": trial.state, "possible": _possible(trial), "text": trial.reason_text, "ahead": trial.ahead,
        "changes": [
            {"what": _what(change["what"]), **{side: names.get(change[side], shown(change[side])) if isinstance(change[side], str)
                                        else shown(change[side]) for side in ("before", "after")}}
            for change in trial.changes if change["what"] not in _UNSAID
        ],
        "events": [event["action"] for event in trial.events], "follow_ups": trial.follow_ups,
        "jobs": trial.jobs_changed, "letter": trial.letter,
    }  # fmt: skip


def _what(name: str) -> str:
    """A column in words; names of attributes and groups stay as they are."""
    return name.replace("_", " ") if name.startswith(("user ", "group ")) else name


def _back(ask: Ask) -> str:
    """Where somebody came from."""
    if len(ask.people) == 1:
        return f"/console/people/{ask.people[0].id}"
    if ask.group is not None:
        return f"/console/groups/{quote(ask.group)}"
    return "/console/groups" if ask.deed.section == "groups" and not ask.people else "/console/people"


# ----------------------------------------------------------------------------------------------- what was asked


def _ask(request: Request, name: str, given: FormData | QueryParams, *, begin: bool) -> Ask:
    """Read who is meant and what was typed. `begin`: the form is new."""
    app = muster(request)
    kind = app.registry.get(name)
    with app.database.read() as conn:
        scope = Scope(conn, app.clock(), app.settings)
        people = _people(scope, given)
        group = "" if people or deeds.find(name, "nobody") else _text(given, "group")
        on: Literal["nobody", "person", "group"] = "person" if people else "group" if group else "nobody"
        deed = deeds.find(name, on)
        if kind is None or deed is None or (len(people) > 1 and not deed.several):
            raise _not_here(name)
        found = groups.find(scope, [group], lock=False)[0] if group else None
        if group and found is None:
            raise Problem(404, "not_found", f"There is no group {group} any more.")
        present = _present(deed, scope, people, found) if begin else _sent(given)
    form = JobForm(kind.payload, without=deed.without)
    about = found.name if found is not None else None
    if begin:
        start = {**present, **deed.start}
        # What an address names takes the place of what the form would begin with: one session, not all of them.
        named = {one.name: given.getlist(one.name) for one in form.inputs if one.name in given}
        if "ids" in named:
            start.pop("all", None)
        typed = form.texts(start) | {
            one: ["\n".join(map(str, texts))] if _kind_of(form, one) == "list" else [str(text) for text in texts]
            for one, texts in named.items()
        }  # fmt: skip
        return Ask(deed, kind, form, people, about, typed, present, secrets.token_hex(16), "")
    typed = {one: [str(text) for text in given.getlist(one)] for one in form.names()}
    _checked(form, present)
    nonce = _text(given, "nonce")
    good = nonce if _NONCE.fullmatch(nonce) else secrets.token_hex(16)
    return Ask(deed, kind, form, people, about, _without_gaps(form, typed), present, good, _text(given, "why").strip())


def _text(given: FormData | QueryParams, name: str) -> str:
    found = given.get(name)
    return found if isinstance(found, str) else ""


def _kind_of(form: JobForm, name: str) -> str:
    return next(one.kind for one in form.inputs if one.name == name)


def _people(scope: Scope, given: FormData | QueryParams) -> list[User]:
    """Those who are named by id, or everybody that a search finds, by username."""
    ids = [one for text in given.getlist("user") if isinstance(text, str) for one in text.split() if is_id(one)]
    if _text(given, "everybody"):
        found = listing.people(scope.conn, limit=MOST_PEOPLE + 1, **Search.read(given).wanted())
        ids = [one["id"] for one in found]
    if len(ids) > MOST_PEOPLE:
        raise Problem(
            422, "too_many", f"These are more than {MOST_PEOPLE} people. Narrow the search, or use a feed or "
            "`muster submit --batch` for so many.",
        )  # fmt: skip
    found_people = sorted(accounts.by_ids(scope, ids, lock=False).values(), key=lambda one: fold(one.username))
    if not found_people and (ids or _text(given, "everybody") or "several" in given):
        sentence = "Nobody was chosen. Tick the people that you mean." if not ids else "There is nobody with this id any more."
        raise Problem(404 if ids else 422, "nobody", sentence)
    return found_people


def _present(deed: Deed, scope: Scope, people: Sequence[User], group: groups.Group | None) -> dict[str, Any]:
    if not deed.prefilled:
        return {}
    if group is not None:
        return deeds.present(deed, listing.group_page(scope, group))
    return deeds.present(deed, listing.user_page(scope, people[0], events=1))


def _sent(given: FormData | QueryParams) -> dict[str, Any]:
    """The present values that came back with the form."""
    try:
        found = json.loads(_text(given, "present") or "{}")
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or unstorable(found) is not None:
        raise _garbled()
    return found


def _checked(form: JobForm, present: Mapping[str, Any]) -> None:
    try:
        form.read(form.texts(present), present)
    except (TypeError, ValueError, AttributeError, StopIteration):
        raise _garbled() from None


def _garbled() -> Problem:
    return Problem(422, "garbled", "The form came back changed, and nothing was done. Open it again.")


def _without_gaps(form: JobForm, typed: dict[str, list[str]]) -> dict[str, list[str]]:
    """Leave out the empty rows of attributes."""
    for one in form.inputs:
        if one.kind == "mapping":
            names, values = f"{one.name}.name", f"{one.name}.value"
            rows = [row for row in zip(typed[names], typed[values], strict=False) if any(row)]
            typed |= {names: [row[0] for row in rows], values: [row[1] for row in rows]}
    return typed


def _not_here(name: str) -> Problem:
    return Problem(404, "not_found", f"The job {name} is not done from here. `muster jobs submit {name}` submits any job.")


# ------------------------------------------------------------------------------------------------------- doing


def _stand_in(kind: Kind) -> dict[str, str] | None:
    """Something in place of the password, to try the job with before there is one."""
    return {PASSWORD: _hash_of_nothing()} if PASSWORD in kind.payload.sealed_fields else None


@cache
def _hash_of_nothing() -> str:
    return passwords.hash_password(fresh())


def _sealed(ask: Ask, form: FormData) -> tuple[dict[str, str], dict[str, str]]:
    """Return the password's hash, and what is wrong with the password; both empty where none is asked for."""
    if PASSWORD not in ask.kind.payload.sealed_fields:
        return {}, {}
    password, again = _text(form, "password"), _text(form, "again")
    if password != again:
        return {}, {"again": "The two are not the same. Nothing was done; type the password again."}
    try:
        return {PASSWORD: passwords.hash_password(password)}, {}
    except passwords.WeakPassword as weak:
        return {}, {"password": f"{str(weak)[0].upper()}{str(weak)[1:]}."}


def _submit(
    app: "App", visitor: Visitor, ask: Ask, fields: Sequence[Mapping[str, Any]], sealed: Mapping[str, str], secret: str
) -> list[Acceptance]:
    """Hand the jobs in, in one transaction; the same form with the same content again is the same jobs."""
    key = app.settings.key
    # The number in the form is known to nobody but the browser, so that nothing of the password can be guessed from it.
    number = f"{ask.nonce} {secret}".encode()
    wanted = [
        intake.Request(
            ask.kind.name, {**one, **sealed}, visitor.caller.source, requested_by=visitor.caller.source, why=ask.why or None,
            key="console/" + digest(key, b"console", number, ask.kind.name.encode(), canonical(one)),
        )
        for one in fields
    ]  # fmt: skip
    return app.submit(wanted)
