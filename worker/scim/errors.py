"""How the refusal of a job, or a job that is not done yet, is told to a SCIM client (RFC 7644, 3.12)."""

from scim2_models import (
    ConflictException,
    ForbiddenException,
    InvalidValueException,
    NotFoundException,
    NotImplementedException,
    PreconditionFailedException,
    SCIMException,
    UniquenessException,
)

from worker.intake import Acceptance
from worker.outcomes import curable
from worker.states import State

# Whoever is told to come back does so after this: a job in front that is being retried takes seconds, not minutes.
RETRY_SECONDS = 10

_TAKEN = frozenset({"username_taken", "external_id_taken", "email_taken", "group_exists", "deleted"})
_GONE = frozenset({"unknown_user", "unknown_group"})
# Never for this client, however often it asks.
_FORBIDDEN = frozenset({"protected_type", "administrators_group", "not_accepted_here"})
_STALE = "stale_version"


class NotDoneYet(SCIMException):
    """The change was taken in and is not done yet."""

    status = 503
    _default_detail = "The change was taken in and is not done yet. Send the same request again in a while."


class FaultyJob(SCIMException):
    """The change was tried and failed."""

    status = 500
    _default_detail = "The change was tried and failed. An administrator sees why in the job's history."


class KeyReused(SCIMException):
    """The Idempotency-Key was used before for something else."""

    status = 422
    _default_detail = "The Idempotency-Key was used before for something else. Use a new one."


def of_answer(answer: Acceptance, *, done: str = "") -> SCIMException:
    """Return the error that says why a job did not succeed. `done`: a sentence on what had been changed before it."""
    if answer.state == State.FAILED:
        return FaultyJob(detail=_said(answer.reason_text, f"See job {answer.id}.", done))
    if answer.reason is None or answer.state not in (State.REJECTED, State.CANCELLED, "refused"):
        return NotDoneYet(detail=_said(
            f"The job {answer.id} ({answer.kind}) was taken in and stands behind others about the same record. It goes on by "
            "itself; sending the same request again does no harm.", done,
        ))  # fmt: skip
    return _class_of(answer)(detail=_said(answer.reason_text, done))


def _class_of(answer: Acceptance) -> type[SCIMException]:
    code = answer.reason or ""
    if code == _STALE:
        return PreconditionFailedException
    if code in _TAKEN:
        return UniquenessException
    if code in _GONE:
        return NotFoundException
    if code in _FORBIDDEN:
        return ForbiddenException
    if code == "key_reused":
        return KeyReused
    if code == "unknown_kind":  # this Muster was set up without the job
        return NotImplementedException
    # What the record's present state forbids may be allowed later: a conflict. All else is wrong in what was sent.
    conflict = answer.state == State.CANCELLED or code == "group_not_empty" or (curable(code) and code not in _SENT)
    return ConflictException if conflict else InvalidValueException


# Curable, since the world may change; but what is wrong stands in the request.
_SENT = frozenset({"unknown_manager", "bad_email"})


def is_stale(error: SCIMException) -> bool:
    """Whether the record had changed since it was read."""
    return isinstance(error, PreconditionFailedException)


def _said(*sentences: str | None) -> str:
    return " ".join(one for one in sentences if one)
