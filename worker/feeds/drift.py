"""Drift: where the directory is not what was accepted, and who changed it by hand."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, select

from worker.bulk import select_by
from worker.database import Database
from worker.feed_tables import feed_person
from worker.feeds import cases, directory_facts, persons
from worker.feeds.as_found import LEAVING, groups_of_others, in_lines, memberships, unfinished
from worker.feeds.as_stored import as_said, declares
from worker.feeds.changed_by import Trail, groups_given
from worker.feeds.compare import Account, Applied, Step, Wanted, applied_from, compare
from worker.feeds.decisions import ANY_SOURCE, label, without
from worker.feeds.declaration import Feed
from worker.feeds.phases import Desired
from worker.jobs import fold
from worker.settings import Settings
from worker.tables import groups, users

# People looked at in one transaction for reading: a few megabytes, whatever the size of the source.
PAGE = 1_000
OPEN = ("active",)
# The case that is opened for somebody whose account was closed by hand.
BY_HAND = "disabled_by_hand"


@dataclass(frozen=True)
class Drift:
    """One difference. `what`: account, access, leaving, manager, `group NAME`, or a field by its name.

    `by`, `at`, `why`: the latest change of it that this feed did not make; None where the audit trail tells of none.
    `left`: why a repair leaves it as it is; None when it would be brought back.
    """

    external_id: str
    account: str
    username: str | None
    label: str | None
    what: str
    should_be: str | None
    found: str | None
    by: str | None = None
    at: datetime | None = None
    why: str | None = None
    left: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The object that every door prints for a difference; instants in ISO 8601."""
        return {
            "external_id": self.external_id, "account": self.account, "username": self.username, "name": self.label,
            "what": self.what, "should_be": self.should_be, "is": self.found, "by": self.by,
            "at": self.at.isoformat() if self.at else None, "why": self.why, "left": self.left,
        }  # fmt: skip


@dataclass
class Astray:
    """Somebody whose account is not as it was accepted. `step`: what brings it back; None: that is left to people."""

    external_id: str
    label: str | None
    drifts: list[Drift]
    step: Step | None
    code: str | None = None


def find(database: Database, settings: Settings, feed: Feed, clock: Callable[[], datetime]) -> "Search":
    """Compare what was accepted of everybody of a source with the directory. Changes nothing; constant memory."""
    return Search(database, settings, feed, clock)


class Search:
    """Goes through the people of a source, once. Afterwards `people` were compared, `under_way` were left out.

    Left out are those about whom jobs are still under way: what they will do is not known yet.
    """

    def __init__(self, database: Database, settings: Settings, feed: Feed, clock: Callable[[], datetime]) -> None:
        self.database, self.settings, self.feed, self.clock = database, settings, feed, clock
        self.people = self.under_way = 0

    def __iter__(self) -> Iterator[Drift]:
        for page in self.pages():
            for one in page:
                yield from one.drifts

    def pages(self) -> Iterator[list[Astray]]:
        """Yield those who differ, page by page in the order of their ids, holding no transaction in between."""
        last: str | None = None
        while True:
            with self.database.read() as conn:
                rows = _accepted(conn, self.feed.name, last)
                page = _Page(conn, self, rows)
                found = page.astray()
            self.people += page.compared
            self.under_way += page.under_way
            yield found
            if len(rows) < PAGE:
                return
            last = rows[-1].external_id


def _accepted(conn: Connection, source: str, last: str | None) -> Sequence[Any]:
    table = feed_person.c
    statement = select(table.external_id, table.account, table.username, table.applied, table.fields, table.run)
    statement = statement.where(table.source == source).order_by(table.external_id).limit(PAGE)
    return conn.execute(statement if last is None else statement.where(table.external_id > last)).all()


class _Page:
    """A thousand people and what the directory holds of them: a constant number of statements."""

    def __init__(self, conn: Connection, search: Search, rows: Sequence[Any]) -> None:
        self.conn, self.feed, self.settings = conn, search.feed, search.settings
        self.now = search.clock()
        self.calm = _without_notices(search.feed)
        wanted = {row.external_id: applied_from(row.applied) for row in rows if row.applied}
        self.wanted = {one: applied for one, applied in wanted.items() if applied and applied.desired.phase != "none"}
        self.rows = [row for row in rows if row.external_id in self.wanted]
        self._read()

    def _read(self) -> None:
        """Jobs first, people last: whoever was changed by a plan in between shows in one of them."""
        conn, rows = self.conn, self.rows
        busy = in_lines(conn, self.settings, rows, unfinished(self.now))
        self.leavings = in_lines(conn, self.settings, rows, LEAVING)
        found = select_by(conn, users.c.external_id, {row.account for row in rows}, users)
        self.users = {user.external_id: user for user in found}
        self.strays = self._under_their_names()
        known = [user.id for user in (*self.users.values(), *self.strays.values())]
        self.member = memberships(conn, known)
        self.managers = self._managers()
        self.names = self._usernames()
        self._authorise()
        runs = {row.external_id: row.run for row in rows}
        again = select_by(
            conn, feed_person.c.external_id, runs, feed_person.c.external_id, feed_person.c.run,
            where=[feed_person.c.source == self.feed.name],
        )  # fmt: skip
        moved = runs.keys() - {row.external_id for row in again if row.run == runs[row.external_id]}
        self.under_way = len(busy.keys() | moved)
        self.rows = [row for row in rows if row.external_id not in busy and row.external_id not in moved]
        self.compared = len(self.rows)

    def _under_their_names(self) -> dict[str, Any]:
        """Return, by person, accounts that have the person's username but another external id, or none."""
        missing = {fold(row.username): row.external_id for row in self.rows if row.username and row.account not in self.users}
        found = select_by(self.conn, users.c.username_folded, missing, users) if missing else []
        return {missing[user.username_folded]: user for user in found}

    def _managers(self) -> dict[str, str]:
        """Return the ids of the managers' accounts by the managers' ids in the source; those without one are left out."""
        wanted = {one.desired.manager for one in self.wanted.values() if one.desired.manager} - {None}
        accounts = {one: self.feed.account(one) for one in wanted if one}
        rows = select_by(
            self.conn, feed_person.c.external_id, accounts, feed_person.c.external_id, feed_person.c.account,
            where=[feed_person.c.source == self.feed.name],
        )  # fmt: skip
        accounts |= {row.external_id: row.account for row in rows}
        found = select_by(self.conn, users.c.external_id, set(accounts.values()), users.c.external_id, users.c.id)
        ids = {row.external_id: row.id for row in found}
        self.manager_accounts = accounts
        return {one: ids[account] for one, account in accounts.items() if account in ids}

    def _usernames(self) -> dict[str, str]:
        """Return the usernames of everybody's manager, by id."""
        ids = {user.manager for user in (*self.users.values(), *self.strays.values()) if user.manager}
        return {row.id: row.username for row in select_by(self.conn, users.c.id, ids, users.c.id, users.c.username)}

    def _authorise(self) -> None:
        """Leave out what other sources have the say on, and what this one says only of newcomers."""
        others: Mapping[str, Mapping[str, set[str]]] = {}
        if self.feed.before_me:
            others, _ = persons.others_say(self.conn, self.feed.name, {row.account for row in self.rows})
        create_only = {name for name, take in self.feed.columns.items() if take.authority == "create"}
        self.dropped: dict[str, set[str]] = {}
        for row in self.rows:
            said = others.get(row.account, {})
            drop = create_only | {
                name for name, sources in self.feed.before_me.items()
                if ANY_SOURCE in sources or any(name in said.get(source, ()) for source in sources)
            }  # fmt: skip
            if drop:
                self.dropped[row.external_id] = drop
                applied = self.wanted[row.external_id]
                self.wanted[row.external_id] = replace(applied, desired=without(applied.desired, drop))

    # ----------------------------------------------------------------------------------------- comparing

    def astray(self) -> list[Astray]:
        """Return those who differ, with who changed what."""
        self._look_up()
        found = []
        for row in self.rows:
            user = self.users.get(row.account)
            one = self._missing(row) if user is None else self._compared(row, user)
            if one is not None:
                found.append(one)
        return self._attributed(found)

    def _look_up(self) -> None:
        """Learn what only those who differ need: closed by hand, groups that are there, groups that other sources want."""
        shut = {}
        for row in self.rows:
            user, phase = self.users.get(row.account), self.wanted[row.external_id].desired.phase
            if user is not None and phase in OPEN and (user.locked_at or not user.is_active):
                shut[row.external_id] = row.account
        self.by_hand = directory_facts.closed_by_hand(self.conn, self.feed, shut)
        self.allowed = cases.enabled(self.conn, self.feed.name, shut)
        names = {fold(name) for one in self.wanted.values() for name in one.desired.groups}
        self.there = {row.name_folded for row in select_by(self.conn, groups.c.name_folded, names, groups.c.name_folded)}
        extra = {
            row.account: user.id for row in self.rows
            if (user := self.users.get(row.account)) and self._too_many(row, user)
        }  # fmt: skip
        self.elsewhere = groups_of_others(self.conn, self.feed.name, extra)
        self.given = groups_given(self.conn, self.feed.job_source, set(extra.values()))

    def _too_many(self, row: Any, user: Any) -> dict[str, str]:
        """The groups that a rule put the person into and that are not wanted: compared form -> name."""
        applied = self.wanted[row.external_id]
        if applied.desired.phase not in ("prehire", "active", "leave"):
            return {}
        wanted = {fold(name) for name in (*applied.desired.groups, *applied.grace)}
        mine = self.member.get(user.id, {})
        return {folded: name for folded, (name, origin) in mine.items() if origin == "rule" and folded not in wanted}

    def _missing(self, row: Any) -> Astray | None:
        desired = self.wanted[row.external_id].desired
        if desired.phase == "left":
            return None
        stray, name = self.strays.get(row.external_id), label(row.fields)
        drift = Drift(row.external_id, row.account, row.username, name, "account", "there", "missing")
        if stray is not None and not self._somebody_elses(stray):
            return self._compared(row, stray)
        if stray is not None:
            drift = replace(drift, left=f"the username {stray.username} belongs to another person of a source now")
        elif desired.phase == "leave":
            drift = replace(drift, left="on leave: there is nothing to open")
        if drift.left:
            return Astray(row.external_id, name, [drift], None)
        account = Account(row.account, row.username or row.account)
        known = replace(desired, groups=self._known_groups(desired))
        step = compare(self.calm, account, None, known, self.now, manager=self._ref(desired))
        return Astray(row.external_id, name, [drift], step)

    def _somebody_elses(self, user: Any) -> bool:
        if user.external_id is None:
            return False
        statement = select(feed_person.c.source).where(feed_person.c.account == user.external_id).limit(1)
        return self.conn.execute(statement).first() is not None

    def _compared(self, row: Any, user: Any) -> Astray | None:
        applied, name = self.wanted[row.external_id], label(row.fields)
        desired = applied.desired
        unnamed = user.external_id != row.account
        account = Account(row.account, user.username, unnamed=unnamed)
        base = Drift(row.external_id, row.account, user.username, name, "", None, None)
        drifts = [replace(base, what="external_id", should_be=row.account, found=user.external_id)] if unnamed else []
        shut, at = self.by_hand.get(row.external_id, (None, None))
        allowed = self.allowed.get(row.external_id)
        if unnamed and desired.phase in OPEN and (user.locked_at or not user.is_active):
            shut = f"the account {user.username} has lost its external id, and is closed"
        if shut is not None and (user.locked_at is not None or at is None or allowed is None or allowed < at):
            found = "locked" if user.locked_at is not None else "inactive"
            drifts.append(replace(base, what="access", should_be="active", found=found, left=shut))
            return Astray(row.external_id, name, drifts, None, BY_HAND)
        phase = _phase(desired, user)
        if phase == "left":
            return None
        states = ("active", "inactive") if desired.phase in OPEN else ("inactive", "active")
        access = [replace(base, what="access", should_be=states[0], found=states[1])] if phase != desired.phase else []
        if desired.phase == "left":
            before = Applied(replace(desired, phase="active", leaves_at=None))
            return Astray(row.external_id, name, drifts + access, compare(self.calm, account, before, desired, self.now, manager=None))
        after = replace(desired, groups=self._known_groups(desired), manager=desired.manager if self._ref(desired) else None)
        before = Applied(self._as_found(row, user, after, phase))
        step = compare(self.calm, account, before, after, self.now, manager=self._ref(after)) or Step("mover", None)
        drifts += access + self._differences(base, desired, step)
        if not drifts:
            return None
        if unnamed:
            step.jobs.insert(0, Wanted("update_user", {"user": account.ref, "external_id": row.account}))
            step.changes["external_id"] = (user.external_id, row.account)
        if desired.phase == "prehire" and phase == "active":
            _close_until_the_first_day(account, step, desired)
        return Astray(row.external_id, name, drifts, step if step.jobs else None)

    def _as_found(self, row: Any, user: Any, after: Desired, phase: Any) -> Desired:
        """The person as the directory has them, in the words of what is desired: comparing the two gives the jobs."""
        fields: dict[str, Any] = {}
        for name, value in after.fields.items():
            if name == "attributes":
                fields[name] = {one: user.attributes.get(one) for one in value}
            else:
                fields[name] = as_said(name, value, getattr(user, name), self.settings)
        mine = self.member.get(user.id, {})
        held = {name: rule for name, rule in after.groups.items() if fold(name) in mine}
        others = self.elsewhere.get(row.account, set())
        held |= {
            name: "drift" for folded, name in self._too_many(row, user).items()
            if folded not in others and (declares(self.feed, name) or (user.id, folded) in self.given)
        }  # fmt: skip
        manager = after.manager
        if manager is not None and user.manager != self.managers.get(manager):
            manager = self.names.get(user.manager) if user.manager else None
        elif manager is None and self._cleared(row) and user.manager:
            manager = self.names.get(user.manager)
        leaves_at = after.leaves_at
        if leaves_at is not None and leaves_at > self.now:
            leaves_at = self.leavings.get(row.external_id)
        return replace(after, phase=phase, fields=fields, groups=held, manager=manager, leaves_at=leaves_at)

    def _cleared(self, row: Any) -> bool:
        """Whether the source says that there is no manager."""
        said = "manager" in row.fields and row.fields["manager"] is None
        return said and "manager" not in self.dropped.get(row.external_id, ())

    def _known_groups(self, desired: Desired) -> dict[str, str]:
        return {name: rule for name, rule in desired.groups.items() if fold(name) in self.there}

    def _ref(self, desired: Desired) -> dict[str, str] | None:
        if desired.manager is None or desired.manager not in self.managers:
            return None
        return {"external_id": self.manager_accounts[desired.manager]}

    def _differences(self, base: Drift, desired: Desired, step: Step) -> list[Drift]:
        found = [
            replace(base, what="leaving" if name == "leaves_at" else name, should_be=_text(should), found=_text(is_so))
            for name, (is_so, should) in step.changes.items() if is_so != should
        ]  # fmt: skip
        found += [replace(base, what=f"group {name}", should_be="member") for name in sorted(step.added)]
        found += [replace(base, what=f"group {name}", found="member") for name in sorted(step.removed)]
        return found + [
            replace(base, what=f"group {name}", should_be="member", left="there is no such group")
            for name in sorted(desired.groups) if fold(name) not in self.there
        ]  # fmt: skip

    # -------------------------------------------------------------------------------------- who it was

    def _attributed(self, found: list[Astray]) -> list[Astray]:
        ids = {}
        for one in found:
            account = one.drifts[0].account
            user = self.users.get(account) or self.strays.get(one.external_id)
            ids[one.external_id] = user.id if user else None
        trail = Trail(self.conn, self.feed.job_source, {one for one in ids.values() if one})
        for one in found:
            user = self.users.get(one.drifts[0].account)
            one.drifts = [_told(drift, trail, ids[one.external_id], user) for drift in one.drifts]
        return found


def _told(drift: Drift, trail: Trail, user_id: str | None, user: Any | None) -> Drift:
    if drift.found == "locked" and user is not None:
        return replace(drift, by=user.lock_owner, at=user.locked_at, why=user.lock_reason)
    event = trail.latest(user_id, drift.what, drift.found) if user_id else None
    return drift if event is None else replace(drift, by=event.actor, at=event.at, why=event.why)


def _phase(desired: Desired, user: Any) -> str:
    """The phase that the account looks like."""
    if user.is_active:
        return "active"
    return "leave" if desired.phase in OPEN else desired.phase


def _text(value: Any) -> str | None:
    return None if value is None else value.isoformat() if isinstance(value, (date, datetime)) else str(value)


def _close_until_the_first_day(account: Account, step: Step, desired: Desired) -> None:
    """Somebody was let in before the first day: close, and plan that day anew, since closing calls it off."""
    step.action = "leave"
    step.changes.pop("start_date", None)
    closing = Wanted("deactivate_user", {"user": account.ref, "reason": "before the first day"})
    step.jobs = [closing, *(step.jobs if desired.starts_on else ())]


def _without_notices(feed: Feed) -> Feed:
    """The feed as a repair sees it: nobody is told of a move that is none, and nothing is kept for a while."""
    movers = feed.movers.model_copy(update={"grace_days": 0, "notify_managers": False})
    leavers = feed.leavers.model_copy(update={"notify_managers": False})
    return feed.model_copy(update={"movers": movers, "leavers": leavers})
