"""A day of jobs for the system tests: people of their own, people whom many jobs share, repeats and reused keys."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from worker.intake import Request

SOURCE = "hr"
GROUPS = 12
SHARED = 20

HASH = "$argon2id$v=19$m=19456,t=2,p=1$c2FtcGxlLXNhbHQtMTY$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"

Job = tuple[str, Mapping[str, Any]]


@dataclass
class Workload:
    """`requests` in the order of submission. `repeats` and `conflicts` are how many of them are no new jobs."""

    requests: list[Request] = field(default_factory=list)
    repeats: int = 0
    conflicts: int = 0


def world() -> list[Request]:
    """What has to be there before: the groups, and the shared people."""
    jobs: list[Job] = [("create_group", {"group": f"group-{n}"}) for n in range(GROUPS)]
    jobs += [
        ("create_user", {"username": name, "name": f"Shared {name}", "email": f"{name}@example.com"}) for name in shared()
    ]
    return [Request(kind, fields, "world", f"world-{n}") for n, (kind, fields) in enumerate(jobs)]


def shared() -> list[str]:
    """The usernames of the people whom many jobs are about."""
    return [f"shared-{n}" for n in range(SHARED)]


def make(size: int, seed: int) -> Workload:
    """Make `size` submissions: a fifth about shared people, a fifth repeats, some reused keys, the rest lives of many."""
    dice = random.Random(seed)
    made = Workload(conflicts=size // 100, repeats=size // 5)
    keys = (f"job-{n}" for n in count())
    shared_jobs = [_request(_of_shared(dice, n), keys) for n in range(size // 5)]
    lives: list[list[Request]] = []
    total = len(shared_jobs) + made.conflicts + made.repeats
    for number in count():
        if total >= size:
            break
        life = [_request(job, keys) for job in _life(dice, number)][: size - total]
        lives.append(life)
        total += len(life)
    # Each life in its own order, all of them mixed, with the shared people's jobs in between.
    running, waiting = lives[:400], lives[400:]
    while running or shared_jobs:
        if shared_jobs and dice.random() < 0.3:
            made.requests.append(shared_jobs.pop())
        if running:
            life = dice.choice(running)
            made.requests.append(life.pop(0))
            if not life:
                running.remove(life)
                running += [waiting.pop(0)] if waiting else []
    firsts = [request for request in made.requests if request.kind not in ("delete_user", "reset_password")]
    erased = {request.fields["user"] for request in made.requests if request.kind == "delete_user"}
    firsts = [r for r in firsts if r.fields.get("user", r.fields.get("username")) not in erased]
    for request in dice.choices(firsts, k=made.repeats):
        made.requests.insert(dice.randrange(made.requests.index(request) + 1, len(made.requests) + 1), request)
    for request in dice.sample(firsts, k=made.conflicts):
        other = Request("create_group", {"group": f"reused-{request.key}"}, SOURCE, request.key)
        made.requests.append(other)
    return made


def _request(job: Job, keys: Iterator[str]) -> Request:
    kind, fields = job
    return Request(kind, fields, SOURCE, next(keys), requested_by="tester", urgent=kind == "lock_user")


def _of_shared(dice: random.Random, number: int) -> Job:
    user = dice.choice(shared())
    group = f"group-{dice.randrange(GROUPS)}"
    permission = f"tickets.{dice.choice(['read', 'close', 'open'])}"
    everyday: list[Job] = [
        ("update_user", {"user": user, "name": f"Shared number {number}", "attributes": {f"a{number % 5}": number}}),
        ("add_to_group", {"user": user, "group": group}),
        ("remove_from_group", {"user": user, "group": group}),
        ("grant_permission", {"name": permission, "user": user}),
        ("revoke_permission", {"name": permission, "user": user}),
        ("transfer_user", {"user": user, "path": f"users/{number % 7}", "groups_add": [group], "origin": "manual"}),
        ("create_recovery_link", {"user": user}),
        ("remove_mfa_devices", {"user": user, "all": True}),
        ("set_legal_hold", {"user": user, "owner": "legal", "reason": f"case {number}"}),
        ("release_legal_hold", {"user": user}),
        ("reactivate_user", {"user": user}),
        ("unlock_user", {"user": user}),
    ]
    revoking: list[Job] = [
        ("deactivate_user", {"user": user, "reason": "left"}),
        ("lock_user", {"user": user, "owner": "security", "reason": "stolen laptop"}),
        ("revoke_sessions", {"user": user, "all": True}),
        ("revoke_tokens", {"user": user}),
        ("revoke_consents", {"user": user}),
        ("offboard_user", {"user": user, "retention": None, "notify_manager": False}),
    ]
    return dice.choice(revoking if dice.random() < 0.15 else everyday)


def _life(dice: random.Random, number: int) -> list[Job]:
    """Some things that happen to one person, or to one group, in their order."""
    user, group = f"person-{number}", f"group-{dice.randrange(GROUPS)}"
    email = f"{user}@example.com"
    born: Job = ("create_user", {"username": user, "name": f"Person {number}", "email": email})
    hired: Job = ("onboard_user", {"username": user, "external_id": f"E-{number}", "name": f"Person {number}",
                                   "email": email, "groups": [group, "group-0"]})  # fmt: skip
    update: Job = ("update_user", {"user": user, "name": f"New name {number}", "attributes": {"desk": number}})
    lives: list[list[Job]] = [
        [born, ("add_to_group", {"user": user, "group": group}), update],
        [born, ("grant_permission", {"name": "tickets.close", "user": user, "object": f"queue/{number}"}), update],
        [born, ("send_recovery_email", {"user": user})],
        [born, ("reset_password", {"user": user, "password_hash": HASH})],
        [born, ("add_to_group", {"user": user, "group": group}), ("remove_from_group", {"user": user, "group": group})],
        [born, ("deactivate_user", {"user": user}), ("reactivate_user", {"user": user}), update],
        [born, ("set_legal_hold", {"user": user, "owner": "legal", "reason": "a case"}),
         ("release_legal_hold", {"user": user}), ("delete_user", {"user": user})],
        [born, ("delete_user", {"user": user, "grace": "P30D"}), ("restore_user", {"user": user})],
        [born, ("lock_user", {"user": user, "owner": "security", "reason": "alarm"}), ("unlock_user", {"user": user})],
        [born, born, update, ("add_to_group", {"user": user, "group": "no such group"})],
        [hired, update, ("transfer_user", {"user": user, "path": "users/sales", "groups_remove": [group]})],
        [hired, ("offboard_user", {"user": user, "retention": None, "notify_manager": False})],
        [("create_group", {"group": f"own-{number}"}),
         ("update_group", {"group": f"own-{number}", "attributes": {"cost_center": number}}),
         ("grant_permission", {"name": "wiki.read", "group": f"own-{number}"})],
        [("create_group", {"group": f"own-{number}"}), ("delete_group", {"group": f"own-{number}"})],
        [("send_invitation", {"email": f"guest-{number}@example.com"})],
    ]  # fmt: skip
    return dice.choice(lives)
