"""A line for each person: which names lead to whom, who comes next, and what a revocation bars."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import and_, delete, func, literal_column, select, update
from sqlalchemy.dialects import postgresql, sqlite

from worker.bulk import among, insert_rows, rows_as_table, select_by
from worker.database import Busy
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
    merges: dict[str, str] = field(default_factory=dict)

    def final(self, subject: str | None) -> str | None:
        """Return the line that a line was merged into, step by step."""
        while subject in self.merges:
            subject = self.merges[subject]
        return subject


def subjects_for(scope: Scope, wanted: Sequence[tuple[str, Names]]) -> tuple[list[str | None], set[str]]:
    """Return the line of each (job id, names), learning new names on the way; and which of the lines are new.

    Names never seen before start a line; names that turn out to be one person's lead to one line (`Names.adopts`,
    or as long as no account exists). A username never moves to another person: usernames are not reused.
    """
    digests = [
        (job_id, names, [digest_of(scope.settings, *n) for n in names.who], [digest_of(scope.settings, *n) for n in names.new])
        for job_id, names in wanted
    ]
    every = {d for _, _, who, new in digests for d in (*who, *new)}
    ids = {d: n[1] for _, names, who, _ in digests for d, n in zip(who, names.who, strict=True) if n[0] is NameKind.ID}
    if not every:
        return [None] * len(wanted), set()
    for _ in range(LOOKS):
        found = _known(scope, every, ids)
        chosen = [_choose(found, job_id, names, who, new) for job_id, names, who, new in digests]
        rows = [found.fresh[d] for d in sorted(found.fresh)]
        made = insert_rows(scope.conn, alias, rows, conflict="skip", returning=[alias.c.digest]) if rows else []
        if len(made) == len(rows):
            for loser, winner in found.merges.items():
                _merge(scope, loser, winner)
            return [found.final(subject) for subject in chosen], {str(row["subject"]) for row in rows}
        # Somebody committed one of these names meanwhile: forget ours and look again.
        scope.conn.execute(delete(alias).where(among(scope.conn, alias.c.digest, [row.digest for row in made])))
    raise Busy("others kept naming the same people at the same moment; try again")


def _known(scope: Scope, digests: set[str], ids: Mapping[str, str]) -> _Found:
    rows = select_by(scope.conn, alias.c.digest, digests, alias.c.digest, alias.c.subject)
    # An account has the id of its line, unless the line had one before: only then its id is an alias.
    subjects = {**ids, **{row.digest: row.subject for row in rows}}
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
        _join(found, known, subject)
        _learn(found, who, subject, None)
    elif known and who[0] in found.subjects:
        subject = found.subjects[who[0]]
    else:
        # The strongest name is new, and the weaker ones belong to an account of their own: a line for the new name.
        subject = new_id()
        _learn(found, who, subject, None)
    # A name to be given under which others were waiting for somebody without an account: they meant this person.
    promised = {found.subjects[d] for d in new if d in found.subjects}
    _join(found, sorted(promised - found.accounts), subject)
    _learn(found, new, subject, job_id)
    return subject


def _join(found: _Found, losers: Sequence[str], winner: str) -> None:
    """Let what is known of these lines lead to the winner's."""
    for loser in losers:
        if loser != winner:
            found.merges[loser] = winner
            found.subjects.update({d: winner for d, s in found.subjects.items() if s == loser})


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
    take_places(scope, dict.fromkeys((loser, winner), 0))
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

    Zero places only locks. Order is given by these numbers, under this lock, never by ids. A line that was merged away
    while we waited for its lock begins anew here: `merged_away` tells.
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


def merged_away(scope: Scope, subjects: Sequence[str]) -> bool:
    """Whether one of these lines, just locked, was merged into another one before we had its lock: look again then."""
    if not subjects:
        return False
    led = select_by(scope.conn, alias.c.subject, subjects, alias.c.subject)
    gone = set(subjects) - {row.subject for row in led}
    if gone:
        scope.conn.execute(delete(line).where(among(scope.conn, line.c.subject, sorted(gone)), line.c.account.is_(None)))
    return bool(gone)


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


def heads(scope: Scope, subjects: Sequence[str]) -> dict[str, int]:
    """Return the first place taken in each of these lines; an empty line has none. Call it under their lock."""
    if not subjects:
        return {}
    statement = (
        select(job.c.subject, func.min(job.c.seq).label("place"))
        .where(among(scope.conn, job.c.subject, list(subjects)), in_line)
        .group_by(job.c.subject)
    )
    return {row.subject: row.place for row in scope.conn.execute(statement)}


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
    """Note for many lines at once which names (one of kind ID) their accounts carry.

    The directory is right: a name that led elsewhere leads here from now on. If nobody with an account stood behind it,
    whoever waited under that name comes after this line's own.
    """
    accounts = {subject: value for subject, names in named for kind, value in names if kind is NameKind.ID}
    moved = _open_accounts(scope, accounts)
    rows: dict[str, dict[str, Any]] = {}
    for subject, names in named:
        ours = moved.get(subject, subject)
        for kind, value in names:
            if value != ours:
                name_digest = digest_of(scope.settings, kind, value)
                rows[name_digest] = {"digest": name_digest, "subject": ours}
    given = [rows[d] for d in sorted(rows)]
    if not given:
        return
    # Most names are known since the intake and lead here already: only ids are new.
    source = rows_as_table(scope.conn, [alias.c.digest, alias.c.subject], given)
    statement = select(source.c.digest, source.c.subject.label("ours"), alias.c.subject).outerjoin_from(
        source, alias, alias.c.digest == source.c.digest
    )
    known = {row.digest: (row.subject, row.ours) for row in scope.conn.execute(statement)}
    new = [row for row in given if known[row["digest"]][0] is None]
    taken = {row.digest for row in insert_rows(scope.conn, alias, new, conflict="skip", returning=[alias.c.digest])}
    raced = [row["digest"] for row in new if row["digest"] not in taken]
    for row in select_by(scope.conn, alias.c.digest, raced, alias.c.digest, alias.c.subject):
        known[row.digest] = (row.subject, known[row.digest][1])
    elsewhere = {name: (there, ours) for name, (there, ours) in known.items() if there not in (None, ours)}
    if elsewhere:
        _bring_home(scope, elsewhere)


def _open_accounts(scope: Scope, accounts: Mapping[str, str]) -> dict[str, str]:
    """Note the account of each line. Where a line is another account's already, a new line is made: old → new."""
    if not accounts:
        return {}
    rows = [{"subject": subject, "account": accounts[subject]} for subject in sorted(accounts)]
    source = rows_as_table(scope.conn, [line.c.subject, line.c.account], rows)
    free = (line.c.account.is_(None)) | (line.c.account == source.c.account)
    opened = scope.conn.execute(
        update(line).values(account=source.c.account).where(line.c.subject == source.c.subject, free)
        .returning(line.c.subject)
    )
    moved = {subject: new_id() for subject in sorted(set(accounts) - {row.subject for row in opened})}
    if moved:
        insert_rows(scope.conn, line, [{"subject": new, "last_seq": 0, "account": accounts[old]} for old, new in moved.items()])
    return moved


def _bring_home(scope: Scope, elsewhere: Mapping[str, tuple[str, str]]) -> None:
    """Names (digest → the line it led to, the line it belongs to) whose owner the directory has settled."""
    others = {other for other, _ in elsewhere.values()}
    owned = {
        row.subject
        for row in select_by(scope.conn, line.c.subject, others, line.c.subject, where=[line.c.account.is_not(None)])
    }
    merged: set[str] = set()
    for name_digest, (other, ours) in sorted(elsewhere.items()):
        if other in owned or other in merged:
            scope.conn.execute(update(alias).where(alias.c.digest == name_digest).values(subject=ours, job=None))
        else:
            _merge(scope, other, ours)
            merged.add(other)


def subject_of(scope: Scope, account_id: str) -> str:
    """Return the line of an account; an account made outside the jobs gets one now."""
    name_digest = digest_of(scope.settings, NameKind.ID, account_id)
    statement = select(alias.c.subject).where(alias.c.digest == name_digest)
    subject: str = scope.conn.execute(statement).scalar_one_or_none() or account_id
    take_places(scope, {subject: 0})
    name_person(scope, subject, [(NameKind.ID, account_id)])
    return subject


def without_account(scope: Scope, subjects: Sequence[str]) -> set[str]:
    """Return those lines that never had an account: the first one takes the line's id for its own."""
    found = select_by(scope.conn, line.c.subject, subjects, line.c.subject, where=[line.c.account.is_(None)])
    return {row.subject for row in found}


def forget_claims(scope: Scope, job_ids: Sequence[str]) -> None:
    """These jobs did not give the names they would have given: free the names for others.

    Where nobody has an account yet the name stays: who waits in the line may have come by it, and whoever gets an
    account of that name has to stand behind them.
    """
    if not job_ids:
        return
    mine = among(scope.conn, alias.c.job, list(job_ids))
    owned = select(line.c.subject).where(line.c.account.is_not(None), line.c.subject == alias.c.subject).exists()
    scope.conn.execute(delete(alias).where(mine, owned))
    scope.conn.execute(update(alias).values(job=None).where(mine))


def confirm_claims(scope: Scope, job_ids: Sequence[str]) -> None:
    """These jobs gave the names they promised."""
    if job_ids:
        scope.conn.execute(update(alias).values(job=None).where(among(scope.conn, alias.c.job, list(job_ids))))
