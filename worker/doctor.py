"""Examines everything Muster needs, and says of each thing whether it is well and what to do if it is not."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from worker import settings as configuration
from worker.settings import WrongSettings

if TYPE_CHECKING:
    from worker.app import App

# A due job is taken up within a second when workers run; after this long, something keeps it.
LATE = timedelta(minutes=5)
# Leases and schedules are kept by each machine's own clock; below this the difference does no harm.
CLOCK_SKEW = timedelta(seconds=2)
# A server on this machine answers in milliseconds; its look at everything takes a second or two.
HTTP_SECONDS = 5.0

State = Literal["ok", "warn", "fail", "away"]


@dataclass(frozen=True)
class Finding:
    """One line of the examination. `away`: something needed cannot be reached; shown as fail."""

    check: str
    state: State
    text: str


def verdict(findings: Sequence[Finding]) -> int:
    """Return the exit code: 0 all is well (warnings included), 1 something is wrong, 3 something cannot be reached."""
    states = {finding.state for finding in findings}
    return 3 if "away" in states else 1 if "fail" in states else 0


def examine() -> list[Finding]:
    """Go through all checks; one that cannot be made without another that failed is left out."""
    try:
        settings = configuration.load()
    except WrongSettings as error:
        return [Finding("settings", "fail", str(error))]
    try:
        from worker.app import App

        app = App(settings)
    except WrongSettings as error:
        return [Finding("settings", "fail", str(error))]
    source = "MUSTER_* variables and muster.toml" if Path(configuration.FILE).exists() else "MUSTER_* variables"
    findings = [Finding("settings", "ok", f"read from {source}")]
    try:
        findings += _look(_key, app)
        database = _look(_database, app)
        findings += database
        if database[0].state == "ok":
            schema = _look(_schema, app)
            findings += schema
            if schema[0].state == "ok":
                for check in (_same_key, _workers, _oldest, _feeds, _webhooks):
                    findings += _look(check, app)
            findings += _look(_clock, app)
        findings += _look(_queue, app)
        findings += _look(_relay, app)
        if database[0].state == "ok" and schema[0].state == "ok":
            findings += _look(_breaker, app)
        findings += _look(_templates, app)
        findings += _look(_http, app)
    finally:
        app.close()
    return findings


Check = Callable[["App"], Iterator[Finding]]


def _look(check: Check, app: "App") -> list[Finding]:
    """Make one check; whatever it runs into is its finding."""
    from worker.database import Busy, Unreachable

    name = check.__name__.removeprefix("_").replace("_", " ")
    try:
        return list(check(app))
    except WrongSettings as error:
        return [Finding(name, "fail", str(error))]
    except (Unreachable, Busy) as error:
        return [Finding(name, "away", f"{type(error).__doc__}")]
    except Exception as error:
        from worker.redact import redact

        return [Finding(name, "fail", f"{type(error).__name__}: {redact(' '.join(str(error).split()))[:300]}")]


def _key(app: "App") -> Iterator[Finding]:
    settings = app.settings
    path = settings.sqlite_path
    if settings.secret_key:
        yield Finding("secret key", "ok", "set in MUSTER_SECRET_KEY or muster.toml; keep a copy in a safe place")
    elif path is not None and not path.with_suffix(".key").exists():
        yield Finding("secret key", "ok", f"none yet; {path.with_suffix('.key')} is made with the database")
    else:
        assert settings.key  # says what is wrong with it
        file = path.with_suffix(".key") if path is not None else Path()
        if file.stat().st_mode & 0o077:
            yield Finding("secret key", "warn", f"{file} can be read by others on this machine. Type: chmod 600 {file}")
        else:
            yield Finding("secret key", "ok", f"from the file {file}; keep a copy in a safe place")


def _database(app: "App") -> Iterator[Finding]:
    path = app.settings.sqlite_path
    if path is not None and not path.exists():
        yield Finding("database", "warn", f"there is no {path} yet; `muster up` or `muster submit` makes it")
        return
    with app.database.read() as conn:
        version = conn.dialect.server_version_info or ()
        kind = {"postgresql": "PostgreSQL", "sqlite": "SQLite"}[conn.dialect.name]
        place = f" in {path}" if path is not None else ""
        yield Finding("database", "ok", f"{kind} {'.'.join(map(str, version))}{place}")


def _schema(app: "App") -> Iterator[Finding]:
    from worker import migrate

    try:
        migrate.require(app.database)
    except migrate.WrongSchema as error:
        yield Finding("schema", "fail", str(error))
    else:
        yield Finding("schema", "ok", f"{migrate.HEAD}, the one this Muster works on")


def _same_key(app: "App") -> Iterator[Finding]:
    app.check_key()
    yield Finding("same key", "ok", "the secret key is the one that this database was begun with")


def _workers(app: "App") -> Iterator[Finding]:
    from worker import listing

    with app.database.read() as conn:
        workers = listing.workers(conn, app.clock())
    alive = [worker for worker in workers if worker["alive"]]
    if alive:
        hosts = sorted({worker["host"].split()[0] for worker in alive})
        yield Finding("workers", "ok", f"{len(alive)} running on {', '.join(hosts)}")
    else:
        command = "muster up" if app.settings.embedded else "muster worker"
        yield Finding("workers", "warn", f"none is running, so jobs wait; `{command}` starts one")


def _oldest(app: "App") -> Iterator[Finding]:
    from worker import listing

    now = app.clock()
    with app.database.read() as conn:
        row = listing.oldest_due(conn, now)
    if row is None:
        yield Finding("backlog", "ok", "no job is due")
        return
    age = now - row["run_at"]
    minutes = int(age.total_seconds() // 60)
    text = f"the oldest due job, {row['kind']} {row['id']}, has waited {minutes} minutes"
    if age > LATE:
        yield Finding("backlog", "warn", f"{text}. Are enough workers running, and do they serve its queue?")
    else:
        yield Finding("backlog", "ok", text if minutes else "jobs are due, none for longer than a minute")


def _feeds(app: "App") -> Iterator[Finding]:
    if not app.settings.feeds:
        return
    from sqlalchemy import func, select

    from worker.feed_tables import feed_case, feed_run
    from worker.feeds import runs
    from worker.feeds.config import WrongFeed

    try:
        names = sorted(app.feeds().feeds)
    except WrongFeed as error:
        yield Finding("feeds", "fail", str(error))
        return
    with app.database.read() as conn:
        held = runs.latest(conn, feed_run.c.state == runs.HELD, limit=10)
        cases = conn.execute(select(func.count()).select_from(feed_case).where(feed_case.c.state == "open")).scalar_one()
    for run in held:
        yield Finding("feeds", "warn", f"the plan {(run.hash or run.id)[: runs.HASH_SHOWN]} of {run.source} is held since "
                                       f"{run.created_at:%Y-%m-%d %H:%M} UTC: muster feed show, then approve or drop it")  # fmt: skip
    if cases:
        yield Finding("feeds", "warn", f"{cases} people wait for a decision: muster feed cases")
    if not held and not cases:
        yield Finding("feeds", "ok", f"declared: {', '.join(names)}; no plan is held, nobody waits for a decision")


def _webhooks(app: "App") -> Iterator[Finding]:
    from worker.webhooks import endpoints

    with app.database.read() as conn:
        rows = endpoints.listed(conn)
    for row in rows:
        if row["state"] == endpoints.PAUSED:
            yield Finding("webhooks", "warn", f"{row['name']} is paused since {row['paused_at']:%Y-%m-%d %H:%M} UTC by "
                          f"{row['paused_by']}, {row['waiting']} deliveries wait: {row['paused_why']} "
                          f"`muster webhook resume {row['name']}` lets go what is not older than three days.")  # fmt: skip
        elif row["failing_since"] is not None:
            yield Finding("webhooks", "warn", f"{row['name']} fails since {row['failing_since']:%Y-%m-%d %H:%M} UTC, "
                          f"{row['waiting']} deliveries wait: {row['failure'] or 'it did not take a delivery'}")  # fmt: skip
    if rows and not any(row["state"] == endpoints.PAUSED or row["failing_since"] for row in rows):
        yield Finding("webhooks", "ok", f"all {len(rows)} endpoints take what they are told")


def _clock(app: "App") -> Iterator[Finding]:
    from datetime import UTC, datetime

    from sqlalchemy import text

    if not app.database.on_postgresql:
        yield Finding("clock", "ok", f"{app.clock():%Y-%m-%d %H:%M:%S} UTC; the database is on this machine")
        return
    with app.database.read() as conn:
        before = app.clock()
        theirs = conn.execute(text("SELECT clock_timestamp()")).scalar_one().astimezone(UTC)
        after = datetime.now(UTC)
    skew = max(before - theirs, theirs - after, timedelta(0))
    if skew > CLOCK_SKEW:
        yield Finding("clock", "warn", f"this machine and the database differ by {skew.total_seconds():.1f} seconds. "
                      "Jobs start early or late by that much: let both follow a time server.")  # fmt: skip
    else:
        yield Finding("clock", "ok", "this machine and the database agree")


def _queue(app: "App") -> Iterator[Finding]:
    trouble = app.bell.trouble()
    if trouble is None:
        place = "Redis answers" if app.settings.broker_url else "in the process that works; no server needed"
        yield Finding("queue", "ok", place)
    else:
        yield Finding("queue", "away", f"{trouble}. Check MUSTER_BROKER_URL and that the server runs.")


def _relay(app: "App") -> Iterator[Finding]:
    from worker.mail.failures import DeliveryFailure, RelayUnavailable
    from worker.mail.relay_url import BadRelayUrl
    from worker.mail.transport import transport_from_url

    place = app.settings.mail_destination
    if place is None:
        yield Finding("relay", "warn", "none is configured, so mails are refused; set MUSTER_SMTP_URL")
        return
    if isinstance(place, Path):
        yield Finding("relay", "warn", f"none is configured: mails with live links land as files in {place}. That is for "
                      "trying out; set MUSTER_SMTP_URL.")  # fmt: skip
        return
    try:
        transport = transport_from_url(place, Path())
    except BadRelayUrl as error:
        yield Finding("relay", "fail", str(error))
        return
    try:
        yield Finding("relay", "ok", transport.probe())
    except RelayUnavailable as failure:
        yield Finding("relay", "away", failure.text)
    except DeliveryFailure as failure:
        yield Finding("relay", "fail", failure.text)
    finally:
        transport.close()


def _breaker(app: "App") -> Iterator[Finding]:
    if app.settings.mail_destination is None:
        return
    health = app.room().health()
    if health.state == "closed":
        yield Finding("breaker", "ok", "mails flow")
    else:
        until = f" until {health.open_until:%H:%M:%S} UTC" if health.open_until else ""
        yield Finding("breaker", "warn", f"mails wait{until}, for the relay failed: {health.reason}")


def _templates(app: "App") -> Iterator[Finding]:
    from worker.mail.room import templates
    from worker.mail.samples import mail_classes

    known = mail_classes(app.registry)
    problems = templates(app.settings).check(known)
    if not problems:
        own = f", with those in {app.settings.templates} first" if app.settings.templates else ""
        yield Finding("templates", "ok", f"all {len(known)} mails can be written{own}")
    for problem in problems:
        yield Finding("templates", "fail", problem)


def _http(app: "App") -> Iterator[Finding]:
    import json
    from http.client import HTTPConnection, HTTPException

    place = app.settings.listen
    host, _, port = place.rpartition(":")
    if port == "0":
        yield Finding("http", "ok", "any free port is taken at the start")
        return
    bare = host.strip("[]")
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bare, bare)  # noqa: S104 (the wish to listen everywhere is answered here)
    connection = HTTPConnection(here, int(port), timeout=HTTP_SECONDS)
    try:
        connection.request("GET", "/health/ready")
        said = json.loads(connection.getresponse().read(65_536))
        wrong = [name for name, well in said["checks"].items() if not well]
    except ConnectionRefusedError:
        yield Finding("http", "ok", f"nothing answers at {place} yet; `muster up` or `muster api` does, once it runs")
    except (OSError, HTTPException, ValueError, TypeError, KeyError, AttributeError):
        yield Finding("http", "warn", f"what answers at {place}, if anything, is not Muster. Free that port, or name another one "
                      "in MUSTER_LISTEN.")  # fmt: skip
    else:
        if wrong:
            yield Finding("http", "warn", f"Muster answers at {place}, and not all is well: {', '.join(wrong)}")
        else:
            yield Finding("http", "ok", f"Muster answers at {place}")
    finally:
        connection.close()
