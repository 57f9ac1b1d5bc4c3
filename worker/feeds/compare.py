"""What is to be done: the difference between what was applied and what is desired, as jobs."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from worker.feeds.declaration import Feed
from worker.feeds.phases import Desired, from_json, lateness

Action = Literal[
    "joiner", "rehire", "mover", "reference", "leaver", "stays", "leave", "return", "noted", "absent", "refused", "case",
    "warning",
]  # fmt: skip

# Memberships that a feed gives are a rule's: rules remove only what rules added.
ORIGIN = "rule"


PRESENT = ("prehire", "active", "leave")
# Fields that an onboarding may empty on an account that is there.
CLEARED = frozenset({"email", "locale", "zone", "start_date", "end_date"})


@dataclass(frozen=True)
class Applied:
    """What was last turned into jobs for a person. `grace`: groups kept for a while after a move, until (ISO)."""

    desired: Desired
    grace: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """As it is stored."""
        stored = self.desired.as_json()
        return stored | {"grace": dict(self.grace)} if self.grace else stored


def applied_from(stored: Mapping[str, Any] | None) -> Applied | None:
    """Read what was applied, as it was stored."""
    if stored is None:
        return None
    return Applied(from_json({name: value for name, value in stored.items() if name != "grace"}), stored.get("grace") or {})


@dataclass(frozen=True)
class Wanted:
    """A job of the plan, exactly as it will be submitted."""

    kind: str
    fields: Mapping[str, Any]
    urgent: bool = False

    def as_json(self) -> dict[str, Any]:
        """As it is stored in the plan and shown."""
        return {"kind": self.kind, "payload": dict(self.fields)} | ({"urgent": True} if self.urgent else {})


@dataclass
class Step:
    """What a plan does about one person. `changes`: field -> (before, after); `mails` counts those it will cause."""

    action: Action
    applied: Applied | None
    jobs: list[Wanted] = field(default_factory=list)
    changes: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    added: dict[str, str] = field(default_factory=dict)
    removed: dict[str, str] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)
    text: str | None = None
    mails: int = 0
    deletes: bool = False


@dataclass(frozen=True)
class Account:
    """The person's account as the jobs name it.

    `new`: there is none yet; `hired_on` lets somebody deleted come back. `found`: it was there before the feed spoke of
    the person; `unnamed`: and has no external id; `shut`: and is closed, and nobody said that it may be opened.
    """

    external_id: str
    username: str
    new: bool = False
    found: bool = False
    unnamed: bool = False
    shut: bool = False
    hired_on: str | None = None

    @property
    def ref(self) -> dict[str, str]:
        """The reference that jobs carry."""
        return {"username": self.username} if self.unnamed else {"external_id": self.external_id}


def compare(
    feed: Feed, account: Account, before: Applied | None, after: Desired, now: datetime, *, manager: Mapping[str, str] | None
) -> Step | None:
    """Return what leads from what was applied to what is desired; None when there is nothing to do.

    `manager`: the reference to the desired manager's account when there is (or will be) one; a manager who is not there
    is left out here, and the planner waits for them.
    """
    old = before.desired.phase if before else "none"
    if before and _is_over(before.desired, now) and after.phase != "left":
        old = "left"  # by the job that was planned
    if before is None or old == "none" or account.new or account.found:
        return _first_seen(feed, account, before, after, now, manager)
    if after.phase == "left":
        return _leaver(feed, account, before, after, now) if old != "left" else _settled(before, after)
    if old == "left":
        if after.phase in ("leave", "none"):
            still = Applied(replace(before.desired, due_at=after.due_at))
            return Step("noted", still, text="has left before, and is not back yet: the account is opened at the return")
        return _rehire(feed, account, before, after, manager, now)
    return _present(feed, account, before, after, now, manager)


def _is_over(was: Desired, now: datetime) -> bool:
    """Whether somebody who was there has had their last day since."""
    return was.phase in PRESENT and was.leaves_at is not None and was.leaves_at <= now


# ------------------------------------------------------------------------------------------------------ joining


def _first_seen(
    feed: Feed, account: Account, before: Applied | None, after: Desired, now: datetime, manager: Mapping[str, str] | None
) -> Step | None:
    if account.found:
        return _taken_over(feed, account, after, now, manager)
    if not account.new and after.phase == "left":
        return _leaver(feed, account, Applied(replace(after, phase="active", leaves_at=None)), after, now)
    if not account.new and after.phase == "leave":
        return Step("leave", Applied(after), [_suspend(account, "leave of absence")], text="leave of absence: suspended, groups kept")
    if after.phase in ("active", "prehire"):
        step = Step("joiner", Applied(after), [_onboard(account, after, manager, welcome=feed.welcome_mail)])
        step.changes = {name: (None, value) for name, value in _flat(after).items() if value is not None}
        step.added = dict(after.groups)
        step.mails = int(feed.welcome_mail and after.phase == "active")
        step.text = _begins(after, lateness(None, after, now))
        return _and_leaves(feed, account, step, None, after)
    if before is not None and before.desired.phase == after.phase and before.desired.starts_on == after.starts_on:
        return None
    if after.phase == "none" and after.starts_on is None:
        return Step("noted", Applied(after), text="nothing says yet that the person is here: no account is made before that")
    texts = {
        "none": f"joins on {after.starts_on}; the account is made {feed.prehire_days} days before",
        "leave": "on leave, and never had an account: it is made at the return",
        "left": "has left, and never had an account",
    }
    return Step("noted", Applied(after if after.phase != "leave" else replace(after, phase="none")), text=texts[after.phase])


def _taken_over(
    feed: Feed, account: Account, after: Desired, now: datetime, manager: Mapping[str, str] | None
) -> Step:
    """An account that was there becomes this person's."""
    step = Step("joiner", Applied(after), text=f"takes over the account {account.username}")
    step.changes = {name: (None, value) for name, value in _flat(after).items() if value is not None}
    if after.phase in ("active", "prehire"):
        step.jobs = [_onboard(account, after, manager, welcome=False)]
        step.added = dict(after.groups)
        return _and_leaves(feed, account, step, None, after)
    # Who has not begun yet is only linked: nothing of a later day shows early.
    fields = {name: value for name, value in after.fields.items() if value is not None and after.phase != "none"}
    if account.unnamed:
        fields["external_id"] = account.external_id
    step.jobs = [Wanted("update_user", {"user": account.ref} | fields)] if fields else []
    if after.phase == "none":
        step.changes = {}
        step.action = "noted" if not fields else "joiner"
    elif after.phase == "leave":
        step.action = "leave"
        step.jobs.append(_suspend(account, "leave of absence"))
    elif after.phase == "left":
        gone = _leaver(feed, account, Applied(replace(after, phase="active", leaves_at=None)), after, now)
        return replace(gone, text=f"{gone.text}; {step.text}")
    return step


def _rehire(
    feed: Feed, account: Account, before: Applied, after: Desired, manager: Mapping[str, str] | None, now: datetime
) -> Step:
    job = _onboard(account, after, manager, welcome=feed.welcome_mail)
    job = replace(job, fields={**job.fields, "only_these_groups": True})
    step = Step("rehire", Applied(after), [job], _changes(before.desired, after), dict(after.groups))
    step.mails = int(feed.welcome_mail and after.phase == "active")
    step.text = _begins(after, lateness(before.desired, after, now))
    return _and_leaves(feed, account, step, None, after)


def _onboard(account: Account, after: Desired, manager: Mapping[str, str] | None, *, welcome: bool) -> Wanted:
    fields: dict[str, Any] = {"username": account.username, "external_id": account.external_id}
    fields |= {name: value for name, value in after.fields.items() if value is not None or (name in CLEARED and not account.new)}
    if account.hired_on is not None:
        fields["hired_on"] = account.hired_on
    if after.groups:
        fields |= {"groups": sorted(after.groups), "origin": ORIGIN}
    if manager is not None:
        fields["manager"] = dict(manager)
    if after.phase == "prehire" and after.starts_on is None:
        fields["first_day_unknown"] = True
    if account.new:
        # A name or id that somebody else was given since the plan was made is theirs.
        fields["takes_over"] = False
    if account.shut:
        fields["opens"] = False
    if not welcome:
        fields["welcome_mail"] = False
    return Wanted("onboard_user", fields)


def _begins(after: Desired, late: timedelta | None) -> str | None:
    if after.phase == "prehire":
        return f"before the first day: opened on {after.starts_on}" if after.starts_on else "before the first day"
    return None if late is None else f"started {told(late)} ago"


# ------------------------------------------------------------------------------------------------------ leaving


def _leaver(feed: Feed, account: Account, before: Applied, after: Desired, now: datetime) -> Step:
    if _planned(before.desired, after):
        # The job that was planned does it, unless it was refused or called off: this one then makes sure.
        return Step("noted", Applied(after), [_offboard(feed, account, after, None)], text="leaves, as was planned")
    step = Step("leaver", Applied(after), [_offboard(feed, account, after, None)])
    step.mails, step.deletes = int(_notifies(feed, after)), _delete_days(feed, after) is not None
    late = lateness(before.desired, after, now)
    words = ["never came" if after.rescinded else "leaves"]
    words += [after.why] if after.why and not after.rescinded else []
    words += ["urgent"] if after.urgent else []
    words += [f"late by {told(late)}"] if late else []
    step.text = ", ".join(words)
    return step


def _planned(before: Desired, after: Desired) -> bool:
    """Whether a job that stands in the ledger does this at its time."""
    return before.leaves_at is not None and before.leaves_at == after.leaves_at and not after.urgent


def _and_leaves(feed: Feed, account: Account, step: Step, before: Applied | None, after: Desired) -> Step:
    """Plan the end that is known already."""
    known = before.desired.leaves_at if before else None
    if after.leaves_at is not None and after.leaves_at != known:
        step.jobs.append(_offboard(feed, account, after, after.leaves_at))
        step.mails += int(_notifies(feed, after) and not account.new)
        step.changes["leaves_at"] = (_iso(known), _iso(after.leaves_at))
    return step


def _offboard(feed: Feed, account: Account, after: Desired, at: datetime | None) -> Wanted:
    ladder = feed.absent if after.absent else feed.leavers
    days = _delete_days(feed, after)
    fields: dict[str, Any] = {"user": account.ref, "retention": None if days is None else f"P{days}D"}
    if ladder.remove_access_days:
        fields["keep_access"] = f"P{ladder.remove_access_days}D"
    if at is not None:
        fields["at"] = at.isoformat()
    reason = "missing from the files" if after.absent else "never came" if after.rescinded else after.why
    if reason:
        fields["reason"] = reason[:1000]
    if not _notifies(feed, after):
        fields["notify_manager"] = False
    return Wanted("offboard_user", fields, urgent=after.urgent and at is None)


def _delete_days(feed: Feed, after: Desired) -> int | None:
    return feed.absent.delete_days if after.absent else feed.leavers.delete_days


def _notifies(feed: Feed, after: Desired) -> bool:
    return feed.leavers.notify_managers and after.manager is not None


def _settled(before: Applied, after: Desired) -> Step | None:
    """Has left, and still has: what else the source says of the person is remembered, and nothing is done."""
    if before.desired.leaves_at != after.leaves_at or _flat(before.desired) != _flat(after):
        return Step("noted", Applied(after), text="has left already")
    return None


# ------------------------------------------------------------------------------------------------------ staying


def _present(
    feed: Feed, account: Account, before: Applied, after: Desired, now: datetime, manager: Mapping[str, str] | None
) -> Step | None:
    was = before.desired
    step = Step("noted", Applied(after))
    if was.phase != after.phase or (after.phase == "prehire" and was.starts_on != after.starts_on):
        _change_phase(feed, account, step, was, after, manager)
    step.changes |= _changes(was, after)
    grace = _regroup(feed, step, before, after, now)
    step.applied = Applied(after, grace)
    onboards = any(job.kind == "onboard_user" for job in step.jobs)
    if (step.changes or step.added or step.removed) and not onboards:
        moves = _move(feed, account, step, after, manager)
        # Taking access away cancels what waits before it; the other way round both are done.
        step.jobs = [*step.jobs, *moves] if step.action == "leave" else [*moves, *step.jobs]
    elif onboards and step.removed:
        step.jobs.append(Wanted("transfer_user", {"user": account.ref, "groups_remove": sorted(step.removed), "origin": ORIGIN}))
    if was.leaves_at is not None and after.leaves_at is None and was.leaves_at > now:
        step.action = "stays"
        step.changes["leaves_at"] = (_iso(was.leaves_at), None)
        if not onboards:
            # It calls off the leaving and opens nothing: somebody may have closed the account for another reason.
            stay = {"username": account.username, "external_id": account.external_id, "end_date": None, "opens": False}
            step.jobs.append(Wanted("onboard_user", stay | {"welcome_mail": False}))
    elif after.leaves_at != was.leaves_at and after.leaves_at is not None:
        step.action = "leaver"
        step.text = f"leaves at the end of {after.fields['end_date']}" if after.fields.get("end_date") else f"leaves at {_iso(after.leaves_at)}"
        step.deletes = _delete_days(feed, after) is not None
        _and_leaves(feed, account, step, before, after)
    if not step.jobs and not step.kept and step.applied == before and step.text is None:
        return None
    if step.action == "noted" and step.jobs:
        step.action = "reference" if set(step.changes) == {"manager"} and not (step.added or step.removed) else "mover"
        step.mails = int(feed.movers.notify_managers and any("notify_manager" in job.fields for job in step.jobs))
    return step


def _change_phase(
    feed: Feed, account: Account, step: Step, was: Desired, after: Desired, manager: Mapping[str, str] | None
) -> None:
    if after.phase == "leave":
        step.action = "leave"
        step.text = "leave of absence: suspended, groups kept"
        step.jobs.append(_suspend(account, "leave of absence"))
    elif was.phase == "leave" and after.phase == "active":
        step.action = "return"
        step.text = "back from leave"
        step.jobs.append(Wanted("reactivate_user", {"user": account.ref}))
    elif was.phase == "prehire" and was.starts_on is not None and was.starts_on == after.starts_on:
        step.text = "first day: the account is opened by the job that was planned"
    else:
        step.action = "mover"
        step.text = _begins(after, None)
        if was.phase == "active":
            step.action = "leave"
            step.text = f"the first day was moved to {after.starts_on}: closed until then"
            step.jobs.append(_suspend(account, "the first day was moved"))
        step.changes["start_date"] = (was.starts_on, after.starts_on)
        step.jobs.append(_onboard(account, after, manager, welcome=feed.welcome_mail))


def _suspend(account: Account, reason: str) -> Wanted:
    return Wanted("deactivate_user", {"user": account.ref, "reason": reason})


def _regroup(feed: Feed, step: Step, before: Applied, after: Desired, now: datetime) -> dict[str, str]:
    """Find the groups that come and go; returns those that are kept for a while, with their end."""
    was = before.desired
    step.added = {name: rule for name, rule in after.groups.items() if name not in was.groups and name not in before.grace}
    grace = {}
    for name in sorted((was.groups.keys() | before.grace.keys()) - after.groups.keys()):
        until = before.grace.get(name)
        if until is None and feed.movers.grace_days:
            until = (now + timedelta(days=feed.movers.grace_days)).isoformat()
            step.kept[name] = until
        if until is not None and datetime.fromisoformat(until) > now:
            grace[name] = until
        else:
            step.removed[name] = was.groups.get(name, "grace is over")
    return grace


def _move(feed: Feed, account: Account, step: Step, after: Desired, manager: Mapping[str, str] | None) -> list[Wanted]:
    """The job (two, when something is cleared in a move) that changes fields and groups."""
    fields: dict[str, Any] = {}
    attributes = {}
    for name, (_, value) in step.changes.items():
        if name.startswith("attributes."):
            attributes[name.removeprefix("attributes.")] = value
        elif name == "manager":
            if manager is not None or value is None:
                fields["manager"] = None if manager is None else dict(manager)
        elif name in after.fields:
            fields[name] = value
    if attributes:
        fields["attributes"] = attributes
    if not step.added and not step.removed:
        return [Wanted("update_user", {"user": account.ref} | fields)] if fields else []
    cleared = {name: value for name, value in fields.items() if value is None}
    moved: dict[str, Any] = {"user": account.ref} | {name: value for name, value in fields.items() if value is not None}
    if step.added:
        moved["groups_add"] = sorted(step.added)
    if step.removed:
        moved["groups_remove"] = sorted(step.removed)
    moved["origin"] = ORIGIN
    if feed.movers.notify_managers and after.manager is not None:
        moved["notify_manager"] = True
    jobs = [Wanted("transfer_user", moved)]
    return [*jobs, Wanted("update_user", {"user": account.ref} | cleared)] if cleared else jobs


def _changes(was: Desired, after: Desired) -> dict[str, tuple[Any, Any]]:
    """Field by field what is said anew; what the source does not claim any more is left alone."""
    old, new = _flat(was), _flat(after)
    if "manager" in old:
        new.setdefault("manager", None)
    return {name: (old.get(name), value) for name, value in new.items() if old.get(name) != value}


def _flat(desired: Desired) -> dict[str, Any]:
    found = {name: value for name, value in desired.fields.items() if name != "attributes"}
    found |= {f"attributes.{name}": value for name, value in (desired.fields.get("attributes") or {}).items()}
    if desired.manager is not None:
        found["manager"] = desired.manager
    return found


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def told(span: timedelta) -> str:
    """A span as people say it: 3 days, 5 hours."""
    hours = int(span.total_seconds() // 3600)
    if hours >= 48:
        return f"{hours // 24} days"
    return f"{hours} hours" if hours != 1 else "1 hour"
