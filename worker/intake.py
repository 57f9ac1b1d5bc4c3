"""The one door into the ledger: checks a job, gives it its line and place, and writes it once per key."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError
from sqlalchemy import select, tuple_, update

from worker import ledger, lines
from worker.bulk import insert_rows, rows_as_table
from worker.database import Busy
from worker.ids import new_id, new_ids
from worker.jobs import Kind, Payload, Registry, canonical, digest
from worker.outcomes import curable, reason_text
from worker.redact import leaves, redact, storable, unstorable, without_secrets
from worker.scope import Scope
from worker.states import State
from worker.tables import job, moment_text, refusal

KEY_LENGTH = 255
# Names of sources and of people who ask; as wide as their columns.
NAME_LENGTH = 255
# Reasons that people give; longer ones are documents, which belong elsewhere.
WORDS_LENGTH = 4_000
# As much as a message on the queue may have; attributes of a person are a few kilobytes.
PAYLOAD_BYTES = 1024 * 1024
# What is kept of a refused message; of larger ones only size and digest.
EVIDENCE_BYTES = 16 * 1024
# Nobody plans further ahead; beyond it stands a slip of the keyboard.
FURTHEST = timedelta(days=36_525)
# One statement of intake carries at most this many jobs; locks of one slice are taken in order.
SLICE = 2_000


@dataclass(frozen=True)
class Request:
    """A job as a producer asks for it.

    `fields` is the payload as JSON values. Without a `key` one is made. `run_at` (aware) puts it off; `hold` accepts it
    without letting it run until a person releases it. `source` comes from the door, not from the sender's word.
    """

    kind: str
    fields: Mapping[str, Any]
    source: str
    key: str | None = None
    run_at: datetime | None = None
    urgent: bool = False
    priority: int | None = None
    version: int | None = None
    hold: str | None = None
    requested_by: str | None = None
    on_behalf_of: str | None = None
    why: str | None = None
    parent: str | None = None
    accepted: int | None = None
    parent_subject: str | None = None


@dataclass(frozen=True)
class Acceptance:
    """What became of a request. `state` is the job's, or "refused"; a duplicate carries the first job's result."""

    id: str | None
    kind: str
    source: str
    key: str | None
    state: str
    result: Mapping[str, Any] | None = None
    reason: str | None = None
    reason_text: str | None = None
    duplicate: bool = False
    #: What is wrong with the fields of a refused payload: each by its path, and the problem.
    errors: Sequence[Mapping[str, str]] = ()

    @property
    def refused(self) -> bool:
        """Whether nothing was written: the producer must change something and send it again."""
        return self.state == "refused"

    def as_json(self) -> dict[str, Any]:
        """The object that every door prints for a job."""
        return {
            "id": self.id, "kind": self.kind, "key": self.key, "state": self.state, "result": self.result,
            "reason": self.reason, "reason_text": self.reason_text, "duplicate": self.duplicate,
        }


@dataclass
class _Draft:
    """A request on its way into the ledger."""

    place: int
    request: Request
    kind: Kind
    payload: Payload
    fields: dict[str, Any]
    key: str
    fingerprint: str
    id: str = ""
    subject: str | None = None
    row: dict[str, Any] = field(default_factory=dict)


@dataclass
class Intake:
    """Takes jobs in, in the caller's transaction. `rung` collects the (kind, urgent) to ring for after its commit."""

    registry: Registry
    rung: set[tuple[str, bool]] = field(default_factory=set)

    def submit(self, scope: Scope, requests: Sequence[Request]) -> list[Acceptance]:
        """Accept, recognise or refuse each request; the answers stand in the order of the requests.

        Same source and key with the same content: the same job, and its stored result. With other content: refused
        (key_reused). A bad request is refused and leaves nothing behind; its neighbours go on.
        """
        answers: list[Acceptance | None] = [None] * len(requests)
        for start in range(0, len(requests), SLICE):
            drafts = []
            for place in range(start, min(start + SLICE, len(requests))):
                drafted = self._draft(scope, place, requests[place])
                if isinstance(drafted, Acceptance):
                    answers[place] = drafted
                else:
                    drafts.append(drafted)
            for draft, answer in self._write(scope, drafts):
                answers[draft.place] = answer
        return [answer for answer in answers if answer is not None]

    # ------------------------------------------------------------------------------------------- one request

    def _draft(self, scope: Scope, place: int, request: Request) -> "_Draft | Acceptance":
        kind = self.registry.get(request.kind)
        if kind is None:
            return refused(request, "unknown_kind", kind=request.kind)
        key = new_id() if request.key is None else request.key
        if not (0 < len(key) <= KEY_LENGTH and key.isascii() and key.isprintable()):
            return refused(request, "bad_key")
        version = kind.payload.version if request.version is None else request.version
        if version > kind.payload.version:
            return refused(request, "newer_version", version=version)
        problem = misfit(scope, request)
        if problem is not None:
            return refused(request, "bad_payload", kind=kind.name, problem=problem)
        errors: Sequence[Mapping[str, str]] = ()
        try:
            payload = kind.load(version, request.fields)
            fields = payload.open_fields()
            # As given too: a number without end would become null in silence.
            problem = unstorable(request.fields) or unstorable(fields)
            if problem is None:
                run_at = None if request.run_at is None else request.run_at.astimezone(UTC)
                content = canonical(fields)
                if len(content) <= PAYLOAD_BYTES:
                    return _Draft(
                        place, replace(request, run_at=run_at), kind, payload, fields, key,
                        fingerprint(scope, kind, content, run_at),
                    )
                problem = f"it has {len(content)} bytes; at most {PAYLOAD_BYTES} are taken"
        except ValidationError as error:
            errors = field_errors(error, request.fields)
            problem = explain(error, request.fields)
        except RecursionError:
            problem = "it is nested too deeply"
        except KeyError:
            problem = f"version {version} of it is not known"
        except (TypeError, ValueError, AttributeError) as error:
            problem = type(error).__name__
        return replace(refused(request, "bad_payload", kind=kind.name, problem=problem), errors=errors)

    def _write(self, scope: Scope, drafts: list[_Draft]) -> list[tuple[_Draft, Acceptance]]:
        if not drafts:
            return []
        first: dict[tuple[str, str], _Draft] = {}
        for draft in drafts:
            first.setdefault((draft.request.source, draft.key), draft)
        fresh = list(first.values())
        self._place(scope, fresh)
        rows = sorted((draft.row for draft in fresh), key=lambda row: (row["source"], row["key"]))
        inserted = {row.id for row in insert_rows(scope.conn, job, rows, conflict="skip", returning=[job.c.id])}
        known = [draft for draft in fresh if draft.id not in inserted]
        lines.forget_claims(scope, [draft.id for draft in known])
        if known:
            # Who was not written may have been counted as the head of a line: let the next one go.
            self.rung |= ledger.leave_line(scope, {draft.subject for draft in known})
        stored = _stored(scope, [(draft.request.source, draft.key) for draft in known])
        for draft in fresh:
            if draft.id in inserted:
                stored[draft.request.source, draft.key] = draft.row
                if draft.row["state"] == State.QUEUED and draft.row["run_at"] <= scope.now:
                    self.rung.add((draft.kind.name, draft.request.urgent))
        answers = []
        for draft in drafts:
            name = (draft.request.source, draft.key)
            new = first[name] is draft and draft.id in inserted
            answers.append((draft, self._answer(scope, draft, stored[name], new=new)))
        return answers

    def _place(self, scope: Scope, drafts: list[_Draft]) -> None:
        """Give each draft its id, line, place and first state; locks the lines."""
        for draft, job_id in zip(drafts, new_ids(len(drafts)), strict=True):
            draft.id = job_id
        names = [(draft.id, draft.payload.names()) for draft in drafts]
        for _ in range(lines.LOOKS):
            subjects, fresh = lines.subjects_for(scope, names)
            counts = Counter(subject for subject in subjects if subject is not None)
            last = lines.take_places(scope, counts)
            # A line whose first places these are may have been merged into another one while we waited for its lock.
            if not lines.merged_away(scope, [s for s, place in last.items() if place == counts[s] and s not in fresh]):
                break
        else:
            raise Busy("the lines of these people kept changing; try again")
        taken = lines.occupied(scope, sorted(counts))
        for draft, subject in zip(drafts, subjects, strict=True):
            draft.subject = subject
            place = None
            if subject is not None:
                place = last[subject] - counts[subject] + 1
                counts[subject] -= 1
            draft.row = self._row(scope, draft, place, taken)

    def _row(self, scope: Scope, draft: _Draft, place: int | None, taken: set[str]) -> dict[str, Any]:
        request, policy = draft.request, draft.kind.policy
        run_at = max(request.run_at or scope.now, scope.now)
        priority = policy.priority if request.priority is None else request.priority
        overtakes = draft.payload.overtakes()
        state, seq = State.QUEUED, place
        if request.hold is not None:
            state, seq = State.HELD, None
        elif run_at > scope.now:
            state, seq = State.SCHEDULED, None
        elif draft.kind.shape == "edge":
            seq = None  # a mail stands in no line; its number only says what came before it
        elif draft.subject is not None:
            if draft.subject in taken and not overtakes:
                state = State.WAITING
            taken.add(draft.subject)
        accepted = place
        if request.accepted is not None and draft.subject == request.parent_subject:
            accepted = request.accepted  # a follow-up is as old as the job that asked for it
        return {
            "id": draft.id, "source": request.source, "key": draft.key, "kind": draft.kind.name,
            "version": draft.kind.payload.version, "payload": draft.fields, "sealed": draft.payload.sealed_values(),
            "fingerprint": draft.fingerprint, "subject": draft.subject, "accepted": accepted, "seq": seq,
            "state": state.value, "urgent": request.urgent, "priority": priority,
            "rank": ledger.rank(run_at, priority), "run_at": run_at, "gives_access": draft.payload.gives_access(),
            "overtakes": overtakes, "attempts": 0, "max_attempts": policy.attempts, "crashes": 0,
            "deadline": run_at + policy.life if policy.life is not None else None,
            "reason": None if request.hold is None else "held", "reason_text": request.hold,
            "requested_by": request.requested_by, "on_behalf_of": request.on_behalf_of, "why": request.why,
            "parent": request.parent, "pruned": False, "created_at": scope.now,
        }

    def _answer(self, scope: Scope, draft: _Draft, row: Mapping[str, Any], *, new: bool) -> Acceptance:
        request = draft.request
        if not new and row["version"] > draft.kind.payload.version and row["kind"] == draft.kind.name:
            return refused(replace(request, key=draft.key), "newer_version", version=row["version"])
        if not new and not self._same(scope, draft, row):
            return refused(replace(request, key=draft.key), "key_reused", key=draft.key, source=request.source)
        answer = Acceptance(
            row["id"], row["kind"], request.source, draft.key, row["state"], row.get("result"), row.get("reason"),
            row.get("reason_text"), duplicate=not new,
        )
        if not new and row["state"] == State.REJECTED and curable(row["reason"]):
            # The world may have changed since: the same message sent again tries again.
            edges = {kind.name: kind.policy.life for kind in self.registry if kind.shape == "edge"}
            rows, rung = ledger.redrive(
                scope, [job.c.id == row["id"]], edges=edges, sealed=draft.payload.sealed_values()
            )
            self.rung |= rung
            if rows:
                again = scope.conn.execute(select(job.c.state).where(job.c.id == row["id"])).scalar_one()
                answer = replace(answer, state=again, result=None, reason=None, reason_text=None)
        return answer

    def _same(self, scope: Scope, draft: _Draft, row: Mapping[str, Any]) -> bool:
        """Whether the stored job asks for the same; an older payload version is compared after upgrading it."""
        if row["fingerprint"] == draft.fingerprint and row["kind"] == draft.kind.name:
            return True
        if row["kind"] != draft.kind.name or row["version"] == draft.kind.payload.version or row.get("pruned"):
            return False
        try:
            # Sealed fields stand outside of the comparison, and those of a job that ended are gone.
            upgraded = draft.kind.load(row["version"], row["payload"], draft.payload.sealed_values())
        except (ValidationError, KeyError):
            return False
        run_at = draft.request.run_at
        if fingerprint(scope, draft.kind, canonical(row["payload"]), run_at, row["version"]) != row["fingerprint"]:
            return False  # asked for at another time
        return fingerprint(scope, draft.kind, canonical(upgraded.open_fields()), run_at) == draft.fingerprint


def misfit(scope: Scope, request: Request) -> str | None:
    """Say what of a request, besides its payload, could not be stored or done; None when all is well."""
    for name, limit in (("source", NAME_LENGTH), ("requested_by", NAME_LENGTH), ("on_behalf_of", NAME_LENGTH),
                        ("why", WORDS_LENGTH), ("hold", WORDS_LENGTH)):
        text = getattr(request, name)
        if text is not None and (len(text) > limit or storable(text) != text):
            return f"{name}: at most {limit} characters, without NUL"
    if request.priority is not None and (
        isinstance(request.priority, bool) or not 0 <= request.priority <= ledger.HIGHEST_STEP
    ):
        return f"priority: from 0 (first) to {ledger.HIGHEST_STEP}"
    if request.run_at is None:
        return None
    try:
        if request.run_at.tzinfo is None or request.run_at.astimezone(UTC) > scope.now + FURTHEST:
            return "run_at: a time with a zone, at most a hundred years ahead"
    except OverflowError:
        return "run_at: a time with a zone, at most a hundred years ahead"
    return None


def fingerprint(scope: Scope, kind: Kind, content: bytes, run_at: datetime | None, version: int | None = None) -> str:
    """Return the keyed digest of what a job asks for: kind, version, the fields as given (canonical), and when."""
    when = b"" if run_at is None else moment_text(run_at).encode()
    told = str(version or kind.payload.version).encode()
    return digest(scope.settings.key, b"job", kind.name.encode(), told, content, when)


def _stored(scope: Scope, names: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Mapping[str, Any]]:
    """Read the jobs that hold these (source, key): ON CONFLICT DO NOTHING gives no row back."""
    if not names:
        return {}
    source = rows_as_table(
        scope.conn, [job.c.source, job.c.key], [{"source": name[0], "key": name[1]} for name in sorted(set(names))]
    )
    statement = select(job).where(tuple_(job.c.source, job.c.key).in_(select(source.c.source, source.c.key)))
    return {(row.source, row.key): dict(row._mapping) for row in scope.conn.execute(statement)}  # noqa: SLF001 (SQLAlchemy's public way to read a row by names)


def refused(request: Request, code: str, **facts: object) -> Acceptance:
    """The answer to a request that was not taken in."""
    return Acceptance(None, request.kind, request.source, request.key, "refused", None, code, reason_text(code, facts))


def record_refusal(scope: Scope, answer: Acceptance, evidence: Any) -> None:
    """Keep a refused message whose sender cannot be answered: why, and the message without its secrets."""
    kept = without_secrets(evidence)
    text = json.dumps(kept, ensure_ascii=False).encode()
    if len(text) > EVIDENCE_BYTES:
        kept = {"size": len(text), "sha256": hashlib.sha256(text).hexdigest()}
    insert_rows(
        scope.conn,
        refusal,
        [{
            "id": new_id(), "at": scope.now, "source": storable(answer.source)[:255],
            "key": storable(answer.key or "")[:255] or None, "kind": storable(answer.kind)[:64],
            "reason": answer.reason or "", "text": storable(answer.reason_text or "")[:WORDS_LENGTH], "evidence": kept,
        }],
    )


def explain(error: ValidationError, fields: Mapping[str, Any]) -> str:
    """Say in one line which fields are wrong and why, without repeating what was in them."""
    return "; ".join(f"{one['field'] or 'payload'}: {one['problem']}" for one in field_errors(error, fields))


def field_errors(error: ValidationError, fields: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the wrong fields, each by its path (empty: the whole), and what is wrong, without what was in them."""
    given = list(leaves(fields))
    return [
        {"field": redact(".".join(str(part) for part in problem["loc"])),
         "problem": redact(problem["msg"].removeprefix("Value error, "), given)}
        for problem in error.errors(include_url=False, include_input=False, include_context=False)[:10]
    ]  # fmt: skip


def release(scope: Scope, ids: Sequence[str], registry: Registry) -> set[tuple[str, bool]]:
    """Let held jobs go: those that are due take their place in the line, the others are scheduled again."""
    rows = ledger.locked(scope, [job.c.id.in_(ids), job.c.state == State.HELD.value])
    later = [row for row in rows if row.run_at > scope.now]
    ledger.move(scope, State.SCHEDULED, [{"id": row.id} for row in later], reason=None, reason_text=None)
    due = [row for row in rows if row.run_at <= scope.now]
    scope.conn.execute(update(job).where(job.c.id.in_([row.id for row in due])).values(reason=None, reason_text=None))
    return ledger.step_up(scope, due, edge_kinds(registry))


def edge_kinds(registry: Registry) -> set[str]:
    """The names of the kinds that reach outside: they stand in no line."""
    return {kind.name for kind in registry if kind.shape == "edge"}


