"""What a plan does about each person of a chunk: hears the records, looks up what is there, and decides line by line."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from worker.directory import groups
from worker.feeds import cases, correlate, directory_facts, persons, usernames
from worker.feeds.claims import ATTRIBUTE, NOTHING, Claims, Refusal, Statement, hear, ripen
from worker.feeds.compare import Account, Applied, Step, compare
from worker.feeds.declaration import Feed
from worker.feeds.persons import Person
from worker.feeds.phases import Desired, desired
from worker.scope import Scope

Line = dict[str, Any]
# What should have changed by now and did not is looked at again after this long, not at once and for ever.
LOOK_AGAIN = timedelta(hours=1)
LOOK_DAILY = timedelta(days=1)
# Full files that come closer together than this count as one to whoever is missing from them.
ONE_FILE = timedelta(hours=12)
# Phases in which a person has, or is about to get, an account.
WITH_ACCOUNT = ("prehire", "active")
# Changes that other brakes look at.
DATED = {"leaves_at", "start_date", "end_date"}
CLOSING = ("deactivate_user", "offboard_user")
# The feed's own word for a column that is taken from elsewhere.
ANY_SOURCE = "*"


@dataclass
class Tally:
    """What a plan amounts to: lines by action, and how many people of each kind the brakes look at."""

    actions: Counter[str] = field(default_factory=Counter)
    risks: Counter[str] = field(default_factory=Counter)

    def add(self, step: Step, *, found: bool) -> None:
        """Count one step."""
        joins = step.action in ("joiner", "rehire") and not found
        # Counted by what the jobs do. What was planned before was counted then, and a newcomer's last day hurts nobody.
        closing = [job for job in step.jobs if job.kind in CLOSING] if step.action not in ("joiner", "noted") or found else []
        self.risks["create"] += joins and bool(step.jobs)
        self.risks["disable"] += bool(closing)
        self.risks["delete"] += any(job.fields.get("retention") is not None for job in closing)
        self.risks["groups"] += bool(step.removed)
        self.risks["attributes"] += not joins and bool(step.changes.keys() - DATED)
        self.risks["mails"] += step.mails


@dataclass
class _Case:
    """One person while the chunk is decided."""

    id: str
    person: Person | None
    claims: Claims
    after: Desired
    absent_runs: int
    newest: Statement | None
    changed: bool
    account: Account | None = None
    line: Line | None = None
    waits: str | None = None
    note: str | None = None


class Decider:
    """Decides for one run."""

    def __init__(self, feed: Feed, run: str, now: datetime) -> None:
        """`now` is the run's instant: all of it is decided for the same moment."""
        self.feed = feed
        self.run = run
        self.now = now
        self.micros = int(now.timestamp() * 1_000_000)
        #: Ids of the last call that were unknown before it.
        self.unknown: list[str] = []
        self._taken: dict[str, str] = {}
        self._wanted_elsewhere: Mapping[str, set[str]] = {}
        self.create_only = {name for name, take in feed.columns.items() if take.authority == "create"}

    def decide(
        self, scope: Scope, heard: Mapping[str, Sequence[Statement]], absent: Collection[str] = (),
        due: Collection[str] = (), again: Collection[str] = (),
    ) -> tuple[list[Line], Tally]:
        """Return the plan's lines for these people, and what they amount to.

        `heard`: what was said, by id; `absent`: not in a full file; `due`: time has passed; `again`: look once more
        though nothing was said (a manager came, a drift is to be mended).
        """
        known = persons.load(scope.conn, self.feed.name, {*heard, *absent, *due, *again})
        every = [
            self._open(scope, one, known.get(one), heard.get(one, ()), one in absent)
            for one in dict.fromkeys([*heard, *absent, *due, *again])
        ]
        self.unknown = [case.id for case in every if case.person is None]
        self._authorise(scope, every)
        self._find_accounts(scope, every)
        self._guard(scope, every)
        found = self._managers(scope, every)
        tally, lines = Tally(), []
        for case in every:
            line = case.line or self._conclude(case, found, tally)
            if line is not None:
                lines.append(line)
        return lines, tally

    # ------------------------------------------------------------------------------------------- one person

    def _open(
        self, scope: Scope, one: str, person: Person | None, heard: Sequence[Statement], absent: bool
    ) -> _Case:
        before = person.claims if person else NOTHING
        claims, newest = before, None
        for statement in heard:
            more = hear(claims, statement.stamp, statement.fields, self.micros)
            if more is not claims and more != claims:
                newest = statement
            claims = more
        if self.feed.mode == "full" and newest is not None:
            # A full file says all there is to say: what an earlier one announced and this one does not has lapsed.
            last = newest.stamp[1]
            claims = replace(claims, later=tuple(one for one in claims.later if one[0][1] >= last))
        claims = ripen(claims, self.micros)
        runs = 0 if heard or person is None else person.absent_runs
        if absent and person is not None and not (person.absent_runs and self.now - person.changed_at < ONE_FILE):
            runs += 1
        after = (
            desired(self.feed, claims.fields, self.now, absent_runs=runs, default_zone=scope.settings.default_zone)
            if claims.fields else Desired("none")
        )
        if self.feed.zone and "zone" not in after.fields and self.feed.zone != scope.settings.zone and claims.fields:
            after = replace(after, fields={**after.fields, "zone": self.feed.zone})
        if claims.later:
            ripe = datetime.fromtimestamp(claims.later[0][0][0] / 1_000_000, UTC)
            after = replace(after, due_at=min(ripe, after.due_at) if after.due_at else ripe)
        case = _Case(one, person, claims, after, runs, newest or (heard[-1] if heard else None), claims != before)
        said = heard and newest is None and person is not None and person.digest is not None and not person.absent_runs
        if said and person is not None and all(statement.digest != person.digest for statement in heard):
            case.line = self._line(case, "noted", code="older", text="older than what is known already: not applied")
        return case

    def _authorise(self, scope: Scope, every: Sequence[_Case]) -> None:
        """Leave out what other sources have the say on, and what this one says only of newcomers."""
        accounts = {case.person.account for case in every if case.person}
        others, self._wanted_elsewhere = persons.others_say(scope.conn, self.feed.name, accounts)
        for case in every:
            drop = set()
            for name, sources in self.feed.before_me.items():
                said = others.get(case.person.account, {}) if case.person else {}
                if ANY_SOURCE in sources or any(name in said.get(source, ()) for source in sources):
                    drop.add(name)
            if case.person is not None and case.person.applied is not None:
                drop |= self.create_only
            if drop:
                case.after = without(case.after, drop)
            shared = self._wanted_elsewhere.get(case.person.account, set()) if case.person else set()
            if shared and case.person is not None and case.person.applied is not None:
                # A group that another source wants as well is not taken away.
                had = case.person.applied.desired.groups
                keep = dict.fromkeys(shared & had.keys() - case.after.groups.keys(), "another source")
                case.after = replace(case.after, groups={**case.after.groups, **keep})

    def _find_accounts(self, scope: Scope, every: Sequence[_Case]) -> None:
        """Find, or choose the name of, the account of everybody."""
        fresh = []
        for case in every:
            if case.person is not None and case.person.username is not None:
                case.account = Account(case.person.account, case.person.username)
            elif case.line is None:
                fresh.append(case)
        if not fresh:
            return
        administrators: set[str] | None = None
        matches = correlate.match(scope, self.feed, [(case.id, case.claims.fields) for case in fresh], self._taken)
        nameless = []
        for case in fresh:
            match = matches[case.id]
            if match.kind == "case":
                case.line = self._case(scope, case, match.code, match.text, match.candidates)
            elif match.account is not None:
                own = match.account.external_id
                case.account = Account(own or self.feed.account(case.id), match.account.username, found=True, unnamed=own is None)
                case.note = f"found by {match.by}"
                if match.kind == "one" and match.by != "external_id":
                    administrators = groups.administrators(scope) if administrators is None else administrators
                    if match.account.id in administrators:
                        text = (f"the account {match.account.username} is an administrator's, and nothing but the {match.by} "
                                "says that it is this person's")  # fmt: skip
                        case.line = self._case(scope, case, "administrator", text, match.candidates)
                        continue
                if match.kind == "decided" and not match.account.is_active:
                    case.account = replace(case.account, shut=not cases.enabled(scope.conn, self.feed.name, [case.id]))
                elif not match.account.is_active and case.after.phase in WITH_ACCOUNT:
                    text = f"the account {match.account.username} was there, and is deactivated"
                    case.line = self._case(scope, case, "disabled_by_hand", text, match.candidates)
            elif match.grave is not None and not _comes_back(case.claims.fields, match.grave.hire_date):
                text = "was deleted; only a newer day of hire makes a new account"
                case.line = self._line(case, "noted", code="deleted", text=text)
            elif case.after.phase in WITH_ACCOUNT and not self.feed.creates:
                case.line = self._line(case, "noted", code="not_here", text="nobody here is this person: nothing is done")
            elif case.after.phase in WITH_ACCOUNT:
                nameless.append(case)
        names = usernames.assign(scope, self.feed, [(case.id, case.claims.fields) for case in nameless])
        for case in nameless:
            if case.id in names:
                case.account = Account(self.feed.account(case.id), names[case.id], new=True)
            else:
                wanted = case.claims.fields.get("username") or "that the templates give"
                text = f"the username {wanted} belongs, or belonged, to somebody else"
                case.line = self._case(scope, case, "username_taken", text, ())

    def _guard(self, scope: Scope, every: Sequence[_Case]) -> None:
        """Nobody whom a person locked or deactivated is opened by a feed."""
        opening = {
            case.id: case.account.external_id
            for case in every
            if case.line is None and case.account and case.person and case.person.applied and self._may_open(case)
        }
        if not opening:
            return
        allowed = cases.enabled(scope.conn, self.feed.name, opening)
        for one, (text, at) in directory_facts.closed_by_hand(scope.conn, self.feed, opening).items():
            if one not in allowed or allowed[one] < at:
                case = next(case for case in every if case.id == one)
                case.line = self._case(scope, case, "disabled_by_hand", text, ())

    def _may_open(self, case: _Case) -> bool:
        """Whether what is to be done may open an account: now, or on a day that is planned."""
        assert case.person is not None
        assert case.person.applied is not None
        was, after = case.person.applied.desired, case.after
        moved = after.phase != was.phase or (after.phase == "prehire" and after.starts_on != was.starts_on)
        over = was.leaves_at is not None and was.leaves_at <= self.now
        return after.phase in WITH_ACCOUNT and (moved or over)

    def _managers(self, scope: Scope, every: Sequence[_Case]) -> Mapping[str, Mapping[str, str]]:
        """Return how jobs name the managers of these people: those who have an account, or get one by this plan."""
        wanted = {case.after.manager for case in every if case.after.manager and case.line is None}
        ids = {one for one in wanted if one is not None}
        coming = {
            case.id: {"external_id": case.account.external_id}
            for case in every
            if case.id in ids and case.account and case.line is None and case.after.phase in WITH_ACCOUNT
        }
        return coming | directory_facts.managers(scope.conn, self.feed, self.run, ids - coming.keys())

    def _conclude(self, case: _Case, managers: Mapping[str, Mapping[str, str]], tally: Tally) -> Line | None:
        after, manager = case.after, None
        if after.manager is not None:
            manager = managers.get(after.manager)
            if after.manager == case.id:
                case.note = "named as their own manager; left out"
                after, manager = replace(after, manager=None), None
            elif manager is None:
                case.waits = after.manager
                after = replace(after, manager=None)
        before = case.person.applied if case.person else None
        account = case.account or Account(self.feed.account(case.id), "", new=True)
        if before and before.desired.phase in persons.PRESENT and after.phase == "none":
            # The first day was moved far ahead: the account stays, closed, until then.
            after = replace(after, phase="prehire", groups=before.desired.groups)
        if before is not None:
            after = replace(after, fields=_with_unsaid(before.desired.fields, after.fields))
        if account.new and account.username and "email" not in after.fields and after.phase in WITH_ACCOUNT:
            address = usernames.address(self.feed, account.username, case.claims.fields)
            if address is not None:
                after = replace(after, fields={**after.fields, "email": address})
        if account.hired_on is None and case.claims.fields.get("hired_on"):
            account = replace(account, hired_on=case.claims.fields["hired_on"])
        step = compare(self.feed, account, before, after, self.now, manager=manager)
        if step is None:
            return self._quiet(case, after, before)
        tally.add(step, found=account.found)
        return self._line(case, step.action, step=step)

    def _quiet(self, case: _Case, after: Desired, before: Applied | None) -> Line | None:
        """Nothing to do; what was said is remembered all the same."""
        person = case.person
        digest = case.newest.digest if case.newest else None
        same = person is not None and not case.changed and case.absent_runs == person.absent_runs
        stored = before.desired if before else None
        waits = person is not None and case.waits == person.waiting_for and (person.due_at is None or person.due_at > self.now)
        if same and waits and person is not None and digest in (None, person.digest) and stored == after:
            return None
        applied = replace(before, desired=after) if before else Applied(after)
        missing = case.absent_runs > (person.absent_runs if person else 0)
        text = f"missing from {case.absent_runs} of {self.feed.absent.files} full files" if missing else None
        return self._line(case, "absent" if missing else "noted", step=Step("noted", applied, text=text))

    # ------------------------------------------------------------------------------------------------- lines

    def _case(
        self, scope: Scope, case: _Case, code: str | None, text: str | None, candidates: Sequence[Mapping[str, Any]]
    ) -> Line:
        if code == "ignored":
            return self._line(case, "noted", code=code, text=text)
        line = self._line(case, "case", code=code, text=text)
        cases.open_cases(scope, self.feed.name, [
            {"external_id": case.id, "label": line["label"], "code": code, "text": text, "candidates": list(candidates)}
        ])  # fmt: skip
        return line

    def _line(
        self, case: _Case, action: str, *, step: Step | None = None, code: str | None = None, text: str | None = None
    ) -> Line:
        newest = case.newest
        texts = [text, step.text if step else None, case.note if step else None]
        if case.waits:
            code = code or "unknown_manager"
            texts.append(f"manager {case.waits} is not there yet: set as soon as there is an account")
        line: Line = {
            "external_id": case.id, "label": label(case.claims.fields), "place": newest.place if newest else None,
            "action": action, "code": code, "text": "; ".join(dict.fromkeys(one for one in texts if one)) or None,
            "changes": None, "groups": None, "jobs": None, "person": None, "undo": None, "raw": None,
        }  # fmt: skip
        if step is None:
            line["raw"] = newest.raw if newest and action == "case" else None
            line["person"] = self._kept(case) if code != "older" else None
            line["undo"] = case.person.stored if case.person else None
            return line
        if step.changes:
            line["changes"] = {name: [before, after] for name, (before, after) in step.changes.items()}
        groups = {name: found for name, found in (("added", step.added), ("removed", step.removed), ("kept", step.kept)) if found}
        line["groups"] = groups or None
        line["jobs"] = [job.as_json() for job in step.jobs] or None
        line["person"] = self._row(case, step)
        line["undo"] = case.person.stored if case.person else None
        return line

    def _row(self, case: _Case, step: Step) -> dict[str, Any]:
        """The row of the accepted state that the line leads to; times as text."""
        assert step.applied is not None
        after, person, claims = step.applied.desired, case.person, case.claims
        ends = [datetime.fromisoformat(until) for until in step.applied.grace.values()]
        due = min([*ends, after.due_at] if after.due_at else ends, default=None)
        if due is not None and due <= self.now:
            due = self.now + LOOK_AGAIN
        newest = case.newest if case.changed or person is None else None
        return {
            "account": case.account.external_id if case.account else self.feed.account(case.id),
            "username": case.account.username if case.account else (person.username if person else None),
            "digest": case.newest.digest if case.newest else (person.digest if person else None),
            "fields": dict(claims.fields), "stamps": {name: list(stamp) for name, stamp in claims.stamps.items()},
            "later": [[list(stamp), dict(fields)] for stamp, fields in claims.later],
            "applied": step.applied.as_json(), "phase": after.phase, "absent_runs": case.absent_runs,
            "waiting_for": case.waits, "due_at": due.isoformat() if due else None,
            "raw": newest.raw if newest else (person.raw if person else None),
        }  # fmt: skip

    def _kept(self, case: _Case) -> dict[str, Any] | None:
        """What is remembered of somebody who waits for a decision: what was said, and that nothing of it was done.

        A full file says it again; of somebody unknown in it nothing is kept.
        """
        if case.person is None and self.feed.mode == "full":
            return None
        before = case.person.applied if case.person else None
        case.account = Account(case.person.account, case.person.username or "") if case.person else Account(
            f"?{self.feed.name}/{case.id}"[:255], ""
        )
        row = self._row(case, Step("case", before or Applied(Desired("none"))))
        # Who is not here yet may come by another source; the others wait for a person's word.
        due = None if self.feed.creates else (self.now + LOOK_DAILY).isoformat()
        return row | {"applied": case.person.stored if case.person else None, "due_at": due, "waiting_for": None,
                      "username": case.account.username or None}  # fmt: skip


def _with_unsaid(was: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """What the source says now, and what was given to the person without its word (such as an address)."""
    fields = {**was, **now}
    if "attributes" in was and "attributes" in now:
        fields["attributes"] = {**was["attributes"], **now["attributes"]}
    return fields


def refused(problem: Refusal) -> Line:
    """The line of a record that was not taken."""
    return {
        "external_id": problem.external_id[:255] or None, "label": None, "place": problem.place, "action": "refused",
        "code": problem.code, "text": problem.text, "changes": None, "groups": None, "jobs": None, "person": None,
        "undo": None, "raw": problem.raw,
    }  # fmt: skip


def warning(external_id: str, code: str, text: str) -> Line:
    """A line that says something and does nothing."""
    return refused(Refusal(external_id, 0, code, text, "")) | {"action": "warning", "place": None, "raw": None}


def _comes_back(fields: Mapping[str, Any], hired: date | None) -> bool:
    """Whether somebody who was deleted was hired again since."""
    said = fields.get("hired_on") or fields.get("start_date")
    return said is not None and (hired is None or date.fromisoformat(said) > hired)


def label(fields: Mapping[str, Any]) -> str | None:
    """The name by which people know the person."""
    name = fields.get("name") or " ".join(part for part in (fields.get("first"), fields.get("last")) if part)
    return name[:255] or None


def without(after: Desired, names: Collection[str]) -> Desired:
    """Return what is desired without some fields."""
    fields = {name: value for name, value in after.fields.items() if name not in names}
    if "attributes" in fields:
        kept = {name: value for name, value in fields["attributes"].items() if ATTRIBUTE + name not in names}
        fields["attributes"] = kept
        if not kept:
            del fields["attributes"]
    return replace(after, fields=fields, manager=None if "manager" in names else after.manager)
