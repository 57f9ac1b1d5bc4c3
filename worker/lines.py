"""A line for each person: which names lead to whom, who comes next, and what a revocation bars."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import and_, delete, func, literal_column, select, update
from sqlalchemy.dialects import postgresql, sqlite

from worker.bulk import among, insert_rows, rows_as_table, select_by
from worker.ids import new_id
from worker.jobs import Name, NameKind, Names, digest, fold
from worker.scope import Scope
from worker.settings import Settings
from worker.tables import alias, job, line

# How often two intakes that meet at the same new name may make each other look again.
LOOKS = 5

#: In the line: the same words as the partial index ix_job_line, so that the planner may use it.
in_line = and_(job.c.state.in_([literal_column("'queued'"), literal_column("'waiting'")]), job.c.seq.is_not(None))


def digest_of(settings: Settings, kind: NameKind, value: str) -> str:
    """Return the keyed digest under which a name is remembered. Usernames and groups are folded, ids are exact."""
    folded = fold(value) if kind in (NameKind.USERNAME, NameKind.GROUP) else value
    return digest(settings.key, b"name", kind.encode(), folded.encode())


@dataclass
class _Found:
    """What is known of the names in hand: digest → subject, and which subjects have an account."""

    subjects: dict[str, str]
    accounts: set[str]
    fresh: dict[str, dict[str, Any]] = field(default_factory=dict)
    merges: list[tuple[str, str]] = field(default_factory=list)


def subjects_for(scope: Scope, wanted: Sequence[tuple[str, Names]]) -> list[str | None]:
    """Return the line of each (job id, names), learning new names on the way.

    Names never seen before start a line; names that turn out to be one person's lead to one line (`Names.adopts`,
    or as long as no account exists). A name never moves to another person: usernames are not reused.
    """
    digests = [
        (job_id, names, [digest_of(scope.settings, *n) for n in names.who], [digest_of(scope.settings, *n) for n in names.new])
        for job_id, names in wanted
    ]
    every = {d for _, _, who, new in digests for d in (*who, *new)}
    if not every:
        return [None] * len(wanted)
    for _ in range(LOOKS):
        found = _known(scope, every)
        chosen = [_choose(found, job_id, names, who, new) for job_id, names, who, new in digests]
        rows = [found.fresh[d] for d in sorted(found.fresh)]
        made = insert_rows(scope.conn, alias, rows, conflict="skip", returning=[alias.c.digest]) if rows else []
        if len(made) == len(rows):
            for loser, winner in found.merges:
                _merge(scope, loser, winner)
            return chosen
        # Somebody committed one of these names meanwhile: forget ours and look again.
        scope.conn.execute(delete(alias).where(among(scope.conn, alias.c.digest, [row.digest for row in made])))
    raise RuntimeError("the names of a batch kept changing under our eyes; submit it again")


def _known(scope: Scope, digests: set[str]) -> _Found:
    rows = select_by(scope.conn, alias.c.digest, digests, alias.c.digest, alias.c.subject)
    subjects = {row.digest: row.subject for row in rows}
    accounts = select_by(
        scope.conn, line.c.subject, subjects.values(), line.c.subject, where=[line.c.account.is_not(None)]
    )
    return _Found(subjects, {row.subject for row in accounts})


def _choose(found: _Found, job_id: str, names: Names, who: Sequence[str], new: Sequence[str]) -> str | None:
    if not who:
        return None
    known = list(dict.fromkeys(found.subjects[d] for d in who if d in found.subjects))
    owners = [subject for subject in known if subject in found.accounts]
    one_person = len(owners) <= 1 and (names.adopts or not owners)
    if known and one_person:
        subject = owners[0] if owners else min(known)
        for loser in known:
            if loser != subject:
                found.merges.append((loser, subject))
                found.subjects.update({d: subject for d, s in found.subjects.items() if s == loser})
        _learn(found, who, subject, None)
    elif known and who[0] in found.subjects:
        subject = found.subjects[who[0]]
    else:
        # The strongest name is new, and the weaker ones belong to an account of their own: a line for the new name.
        subject = new_id()
        _learn(found, who, subject, None)
    _learn(found, new, subject, job_id)
    return subject


def _learn(found: _Found, digests: Sequence[str], subject: str, job_id: str | None) -> None:
    for name_digest in digests:
        if name_digest not in found.subjects:
            found.subjects[name_digest] = subject
            found.fresh[name_digest] = {"digest": name_digest, "subject": subject, "job": job_id}


def _merge(scope: Scope, loser: str, winner: str) -> None:
    """Two lines turned out to be one person's: the loser's jobs come after the winner's."""
    conn = scope.conn
    conn.execute(select(job.c.id).where(job.c.subject.in_([loser, winner]), job.c.finished_at.is_(None))
                 .order_by(job.c.id).with_for_update())
    take_places(scope, {subject: 0 for subject in (loser, winner)})
    places = {row.subject: row for row in conn.execute(select(line).where(line.c.subject.in_([loser, winner])))}
    offset = places[winner].last_seq
    if occupied(scope, [winner]):
        conn.execute(update(job).values(state="waiting").where(
            job.c.subject == loser, in_line, job.c.state == "queued", job.c.overtakes.is_(False)))
    conn.execute(update(job).where(job.c.subject == loser).values(
        subject=winner, seq=job.c.seq + offset, accepted=job.c.accepted + offset))
    conn.execute(update(alias).where(alias.c.subject == loser).values(subject=winner))
    bars = [b for b in (places[winner].bar, None if places[loser].bar is None else places[loser].bar + offset) if b]
    conn.execute(update(line).where(line.c.subject == winner).values(
        last_seq=offset + places[loser].last_seq, bar=max(bars, default=None)))
    conn.execute(delete(line).where(line.c.subject == loser))


def take_places(scope: Scope, counts: Mapping[str, int]) -> dict[str, int]:
    """Lock the lines of these subjects (sorted) and take so many places in each; returns the last place taken.

    Zero places only locks. Order is given by these numbers, under this lock, never by ids.
    """
    if not counts:
        return {}
    conn = scope.conn
    rows = [{"subject": subject, "last_seq": counts[subject]} for subject in sorted(counts)]
    source = rows_as_table(conn, [line.c.subject, line.c.last_seq], rows)
    picked = select(source.c.subject, source.c.last_seq)
    insert = postgresql.insert(line) if scope.on_postgresql else sqlite.insert(line)
    if not scope.on_postgresql:
        picked = picked.where(source.c.subject.is_not(None))
    statement = insert.from_select(["subject", "last_seq"], picked)
    statement = statement.on_conflict_do_update(
        index_elements=[line.c.subject], set_={"last_seq": line.c.last_seq + statement.excluded.last_seq}
    )
    return {row.subject: row.last_seq for row in conn.execute(statement.returning(line.c.subject, line.c.last_seq))}


def lock(scope: Scope, subjects: Sequence[str]) -> dict[str, int | None]:
    """Lock the lines of these subjects, sorted; returns each line's bar."""
    if not subjects:
        return {}
    statement = (
        select(line.c.subject, line.c.bar)
        .where(among(scope.conn, line.c.subject, sorted(set(subjects))))
        .order_by(line.c.subject)
        .with_for_update()
    )
    return {row.subject: row.bar for row in scope.conn.execute(statement)}


def occupied(scope: Scope, subjects: Sequence[str]) -> set[str]:
    """Return those subjects in whose line somebody stands. Call it under their lock."""
    if not subjects:
        return set()
    statement = select(job.c.subject).distinct().where(among(scope.conn, job.c.subject, list(subjects)), in_line)
    return {row.subject for row in scope.conn.execute(statement)}


def lift(scope: Scope, subjects: Sequence[str]) -> set[tuple[str, bool]]:
    """Let the first of each line go, if it waits; returns the (kind, urgent) of those lifted. Call it under the lock."""
    if not subjects:
        return set()
    first = (
        select(job.c.subject.label("who"), func.min(job.c.seq).label("place"))
        .where(among(scope.conn, job.c.subject, sorted(set(subjects))), in_line)
        .group_by(job.c.subject)
        .subquery("first")
    )
    statement = (
        update(job)
        .values(state="queued")
        .where(job.c.subject == first.c.who, job.c.seq == first.c.place, job.c.state == literal_column("'waiting'"))
        .returning(job.c.kind, job.c.urgent)
    )
    return {(row.kind, bool(row.urgent)) for row in scope.conn.execute(statement)}


def bar(scope: Scope, places: Mapping[str, int]) -> None:
    """Bar each line: jobs accepted before the given place may not give access any more."""
    rows = [{"subject": subject, "bar": places[subject]} for subject in sorted(places)]
    if not rows:
        return
    source = rows_as_table(scope.conn, [line.c.subject, line.c.bar], rows)
    scope.conn.execute(
        update(line)
        .values(bar=source.c.bar)
        .where(line.c.subject == source.c.subject, (line.c.bar.is_(None)) | (line.c.bar < source.c.bar))
    )


def name_person(scope: Scope, subject: str, names: Sequence[Name]) -> None:
    """The account of this line now carries these names; one of them is its id."""
    name_accounts(scope, [(subject, names)])


def name_accounts(scope: Scope, named: Sequence[tuple[str, Sequence[Name]]]) -> None:
    """Note for many lines at once which names (one of kind ID) their accounts carry."""
    rows: dict[str, dict[str, Any]] = {}
    accounts: list[dict[str, Any]] = []
    for subject, names in named:
        for kind, value in names:
            name_digest = digest_of(scope.settings, kind, value)
            rows[name_digest] = {"digest": name_digest, "subject": subject}
            if kind is NameKind.ID:
                accounts.append({"subject": subject, "account": value})
    insert_rows(scope.conn, alias, [rows[d] for d in sorted(rows)], conflict="skip")
    if accounts:
        accounts.sort(key=lambda row: str(row["subject"]))
        source = rows_as_table(scope.conn, [line.c.subject, line.c.account], accounts)
        scope.conn.execute(
            update(line).values(account=source.c.account).where(line.c.subject == source.c.subject)
        )


def subject_of(scope: Scope, account_id: str) -> str:
    """Return the line of an account; an account made outside the jobs gets one now."""
    name_digest = digest_of(scope.settings, NameKind.ID, account_id)
    subject = scope.conn.execute(select(alias.c.subject).where(alias.c.digest == name_digest)).scalar_one_or_none()
    if subject is None:
        subject = new_id()
        take_places(scope, {subject: 0})
        name_person(scope, subject, [(NameKind.ID, account_id)])
    return subject


def forget_claims(scope: Scope, job_ids: Sequence[str]) -> None:
    """These jobs did not give the names they would have given: free the names for others."""
    if job_ids:
        scope.conn.execute(delete(alias).where(among(scope.conn, alias.c.job, list(job_ids))))


def confirm_claims(scope: Scope, job_ids: Sequence[str]) -> None:
    """These jobs gave the names they promised."""
    if job_ids:
        scope.conn.execute(update(alias).values(job=None).where(among(scope.conn, alias.c.job, list(job_ids))))
