"""Turns what SCIM clients want into jobs, does them within the request, and says what became of them."""

import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from scim2_models import ForbiddenException, InvalidValueException, NotFoundException
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

from worker import dryrun, power
from worker.api_tokens import Caller
from worker.app import App
from worker.bulk import among, insert_rows
from worker.directory.passwords import WeakPassword, hash_password
from worker.door_tables import scim_link
from worker.ids import new_id
from worker.intake import Acceptance, Request
from worker.redact import unstorable
from worker.scim import errors
from worker.scim.people import Change, for_create
from worker.scim.reading import Reader, Team, Type
from worker.states import FINISHED, State
from worker.tables import job

# Clients give up after a minute (Okta closes the connection then); what is not done by this time goes on without them.
PATIENCE_SECONDS = 40.0
# Without progress for so long, something stands in front.
STUCK_SECONDS = 5.0
# From so many on, one batch is quicker than one by one.
TOGETHER = 10
# So many are taken in at once; more would keep other writers waiting for too long.
SLICE = 1_000
LONGEST_EXTERNAL_ID = 255


@dataclass
class Writer:
    """Changes asked for by one client in one request. `key` is the client's Idempotency-Key, if it sent one."""

    app: App
    reader: Reader
    caller: Caller
    key: str | None = None
    _count: int = 0
    _done: list[str] = field(default_factory=list)

    # ------------------------------------------------------------------------------------------------- people

    def create_user(self, wanted: Change, password: str | None) -> str:
        """Make an account; returns its id. Raises SCIMException."""
        fields = for_create(wanted)
        if wanted.manager is not None:
            fields["manager"] = self._manager(wanted.manager[0])
        hashed = _hashed(password)
        _check_external_id(wanted)
        # What comes next names the account by its id: while a create is refused, its username is somebody else's.
        user_id = str((self._do("create_user", fields).result or {})["user"])
        self._note("The account was made.")
        if hashed is not None:
            self._do("reset_password", {"user": {"id": user_id}, "password_hash": hashed, "notify": False,
                                       "also_inactive": True})  # fmt: skip
        self._link("User", user_id, wanted.external_id)
        return user_id

    def update_user(
        self, user_id: str, wanted: Change, *, password: str | None = None, version: int | None = None, close: bool = False
    ) -> None:
        """Change an account: all that is wanted, or nothing where that can be known beforehand. Raises SCIMException.

        `version`: the one that the change was computed from, where it matters. `close`: deactivate in any case, also an
        account that is inactive already: what waits in its line must not open it again.
        """
        fields = dict(wanted.fields)
        if wanted.attributes:
            fields["attributes"] = wanted.attributes
        if wanted.manager is not None:
            fields["manager"] = self._manager(wanted.manager[0])
        close = close or fields.get("is_active") is False
        if close:
            fields.pop("is_active", None)
        hashed = _hashed(password)
        _check_external_id(wanted)
        who = {"user": {"id": user_id}}
        self._allow([("update_user", who | fields), *([("reset_password", who | {"password_hash": hashed})] if hashed else [])])
        if close:
            if fields:  # taking access away comes first, so the rest is tried out before it
                self._try("update_user", who | fields | ({"expected_version": version} if version else {}))
            self._do("deactivate_user", who)
            self._note("The account was deactivated.")
            version = None
        if fields:
            self._do("update_user", who | fields | ({"expected_version": version} if version else {}))
            self._note("The other changes were made.")
        if hashed is not None:
            self._do("reset_password", who | {"password_hash": hashed, "also_inactive": True})
        self._link("User", user_id, wanted.external_id)

    def delete_user(self, user_id: str) -> None:
        """Delete an account for good. Raises SCIMException."""
        self._do("delete_user", {"user": {"id": user_id}})

    def _manager(self, named: str | None) -> dict[str, str] | None:
        if named is None:
            return None
        found = self.reader.user_named(named)
        if found is None:
            raise InvalidValueException(detail=f"There is no user {named} to be the manager. Create that user first.")
        return {"id": found}

    # ------------------------------------------------------------------------------------------------- groups

    def create_group(self, name: str, external_id: tuple[str | None] | None, members: Sequence[str]) -> str:
        """Make a group with these parts; returns its id. Raises SCIMException."""
        _check_external_id(Change(external_id=external_id))
        adding = self._parts(members)
        group_id = str((self._do("create_group", {"group": name}).result or {})["group_id"])
        self._note("The group was made.")
        self._link("Group", group_id, external_id)
        self._move(name, adding, {})
        return group_id

    def update_group(
        self, team: Team, *, name: str | None = None, external_id: tuple[str | None] | None = None,
        add: Sequence[str] = (), remove: Mapping[str, Type] | None = None,
    ) -> None:
        """Rename a group, and change who is in it. Raises SCIMException."""
        _check_external_id(Change(external_id=external_id))
        adding = self._parts(add)
        if name is not None and name != team.name:
            self._do("update_group", {"group": team.name, "name": name})
            self._note("The group was renamed.")
        self._link("Group", team.id, external_id)
        self._move(name or team.name, adding, remove or {})

    def delete_group(self, team: Team) -> None:
        """Delete a group and all memberships in it. Raises SCIMException."""
        self._do("delete_group", {"group": team.name, "force": True})

    def _parts(self, ids: Sequence[str]) -> dict[str, tuple[Type, str]]:
        """Return what these ids are: (type, name). Raises InvalidValueException for one that is nobody's."""
        known = self.reader.known(ids)
        missing = sorted(set(ids) - known.keys())
        if missing:
            raise InvalidValueException(detail=f"There is no user or group with the id {missing[0]}, so it cannot be a member.")
        return known

    def _move(self, group: str, adding: Mapping[str, tuple[Type, str]], removing: Mapping[str, Type]) -> None:
        """Put these into a group, then take those out: so the last administrator can be replaced in one request."""
        names = {one: name for one, (_, name) in self.reader.known(removing).items()}
        wanted = [
            ("add_to_group", {"user": {"id": one}, "group": group}) if type_ == "User"
            else ("update_group", {"group": name, "add_parents": [group]})
            for one, (type_, name) in sorted(adding.items())
        ]  # fmt: skip
        wanted += [
            ("remove_from_group", {"user": {"id": one}, "group": group}) if type_ == "User"
            else ("update_group", {"group": names[one], "remove_parents": [group]})
            for one, type_ in sorted(removing.items()) if one in names
        ]  # fmt: skip
        deadline = time.monotonic() + PATIENCE_SECONDS
        answers: list[Acceptance] = []
        for start in range(0, len(wanted), SLICE):
            answers += self._do_all(wanted[start : start + SLICE], deadline)
        failed = [one for one in answers if one.state != State.SUCCEEDED]
        if failed:
            settled = [one for one in failed if one.state in FINISHED or one.refused]
            count = f"{len(answers) - len(failed)} of {len(answers)} changes of members were made."
            raise errors.of_answer((settled or failed)[0], done=" ".join([*self._done, count]))

    # --------------------------------------------------------------------------------------------------- jobs

    def _request(self, kind: str, fields: Mapping[str, Any]) -> Request:
        self._count += 1
        # A key made before the first try: when the commit's answer is lost, the second try finds the first one's job.
        key = f"{self.key}/{self._count}" if self.key is not None else str(uuid.uuid4())
        client = self.reader.client
        return Request(kind, fields, client, key=key, requested_by=client)

    def _allow(self, wanted: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Raise ForbiddenException for what is an administrator's to do: being a SCIM client is no power over them."""
        requests = [Request(kind, fields, self.reader.client) for kind, fields in wanted]
        for reach in power.beyond(self.app, self.caller, requests).values():
            if reach.scope == "admin":
                raise ForbiddenException(detail=f"{reach.why}: that takes a token with the scope admin.")

    def _do(self, kind: str, fields: Mapping[str, Any]) -> Acceptance:
        """Do one job now. Raises SCIMException unless it succeeded."""
        self._allow([(kind, fields)])
        answer = self.app.submit_and_run(self._request(kind, fields), seconds=STUCK_SECONDS)
        if answer.state != State.SUCCEEDED:
            raise errors.of_answer(answer, done=" ".join(self._done))
        return answer

    def _try(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Raise SCIMException if this job would be refused; nothing is done."""
        seen = dryrun.preview(self.app, replace(self._request(kind, fields), key=str(uuid.uuid4())))
        if seen.state in ("refused", "rejected"):
            raise errors.of_answer(
                Acceptance(None, kind, self.reader.client, None, seen.state, reason=seen.reason, reason_text=seen.reason_text)
            )

    def _do_all(self, wanted: Sequence[tuple[str, Mapping[str, Any]]], deadline: float) -> list[Acceptance]:
        """Take these jobs in together and do them, whoever else's are in the way; returns how they stand, in order."""
        self._allow(wanted)
        answers = self.app.submit([self._request(kind, fields) for kind, fields in wanted])
        runner = self.app.runner()
        stuck = time.monotonic() + STUCK_SECONDS
        open_ones = {one.id: one for one in answers if one.id is not None and one.state not in FINISHED}
        pause = 0.01
        while open_ones and time.monotonic() < min(stuck, deadline):
            due = Counter(one.kind for one in open_ones.values() if one.state == State.QUEUED)
            for kind, number in sorted(due.items()):
                if number >= TOGETHER:
                    runner.run(kind, urgent=False)
                else:
                    for one in open_ones.values():
                        if one.kind == kind and one.state == State.QUEUED:
                            runner.run_one(kind, str(one.id))
            standing = self._standing(open_ones)
            if any(one.state in FINISHED for one in standing.values()):
                stuck, pause = time.monotonic() + STUCK_SECONDS, 0.01
            else:
                time.sleep(pause)
                pause = min(pause * 1.5, 0.2)
            answers = [standing.get(str(one.id), one) for one in answers]
            open_ones = {one: now for one, now in standing.items() if now.state not in FINISHED}
        return answers

    def _standing(self, found: Mapping[str, Acceptance]) -> dict[str, Acceptance]:
        columns = [job.c[name] for name in ("id", "state", "result", "reason", "reason_text")]
        with self.app.database.read() as conn:
            rows = conn.execute(select(*columns).where(among(conn, job.c.id, sorted(found)))).all()
        return {
            row.id: replace(found[row.id], state=row.state, result=row.result, reason=row.reason, reason_text=row.reason_text)
            for row in rows
        }

    def _note(self, sentence: str) -> None:
        """Remember what was done, for the answer when a later step is refused."""
        self._done.append(sentence)

    # -------------------------------------------------------------------------------------------------- names

    def _link(self, type_: Type, record: str, external_id: tuple[str | None] | None) -> None:
        """Keep what this client calls a record: its own word about it, no change of the directory."""
        if external_id is None:
            return
        whose = scim_link.c.user_id if type_ == "User" else scim_link.c.group_id
        row = {"id": new_id(), "client": self.reader.client, whose.name: record, "external_id": external_id[0]}

        def work(conn: Any) -> None:
            conn.execute(delete(scim_link).where(scim_link.c.client == self.reader.client, whose == record))
            if external_id[0] is not None:
                insert_rows(conn, scim_link, [row], conflict="skip")

        try:
            self.app.database.transact(work)
        except IntegrityError:
            raise NotFoundException(detail=f"{type_} {record} was deleted meanwhile.") from None


def _hashed(password: str | None) -> str | None:
    """Return the hash of a password; it goes no further in the clear. Raises InvalidValueException."""
    if password is None:
        return None
    try:
        return hash_password(password)
    except WeakPassword as problem:
        raise InvalidValueException(detail=f"The password was not set: {problem}.") from None


def _check_external_id(wanted: Change) -> None:
    text = wanted.external_id[0] if wanted.external_id is not None else None
    if text is None:
        return
    problem = unstorable(text) or (f"it has more than {LONGEST_EXTERNAL_ID} characters" if len(text) > LONGEST_EXTERNAL_ID else None)
    if problem:
        raise InvalidValueException(detail=f"The externalId cannot be kept: {problem}.")


