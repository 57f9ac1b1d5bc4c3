"""`muster up`, `muster worker`, `muster api` and `muster demo`: the commands that work."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli import desk
from worker.cli.errors import BAD_INPUT, UNREACHABLE

if TYPE_CHECKING:
    from socket import socket

    from worker.settings import Settings

THREADS = 4
MAIL_THREADS = 2
# Requests that talk to the database at once; others wait for their turn.
HTTP_CONNECTIONS = 16
GRACE_SECONDS = 10.0
"""Between SIGTERM and SIGKILL for a worker process; container runtimes give as much."""


@click.command()
@click.option("--processes", type=click.IntRange(1, 256), default=1, show_default=True, help="Worker processes.")
@click.option("--threads", type=click.IntRange(1, 64), default=THREADS, show_default=True,
              help="Threads of each for directory jobs; one more serves urgent jobs alone.")  # fmt: skip
@click.option("--mail-threads", type=click.IntRange(1, 64), default=MAIL_THREADS, show_default=True,
              help="Threads of each for mails, and as many again for webhooks.")  # fmt: skip
@click.option("--queues", metavar="A,B", help="Serve these queues alone, such as mail. [default: all]")
@click.option("--child", is_flag=True, hidden=True)
def worker(processes: int, threads: int, mail_threads: int, queues: str | None, child: bool) -> None:
    """Run worker processes, and start again what dies."""
    wanted = [queue.strip() for queue in queues.split(",") if queue.strip()] if queues else None
    if child:
        from worker.process import run_worker
        from worker.settings import WrongSettings
        from worker.supervisor import EXIT_REFUSED

        try:
            settings = desk.read_settings()
        except WrongSettings as error:
            click.echo(str(error), err=True)
            raise SystemExit(EXIT_REFUSED) from None
        _log(settings.log_level)
        raise SystemExit(run_worker(settings, threads=threads, mail_threads=mail_threads, queues=wanted))
    _check(wanted)
    from worker.supervisor import EXIT_REFUSED, supervise

    command = [sys.executable, "-m", "worker", "worker", "--child", "--threads", str(threads), "--mail-threads",
               str(mail_threads), *(["--queues", ",".join(wanted)] if wanted else [])]  # fmt: skip
    _log(desk.read_settings().log_level)
    code = supervise(command, processes=processes, grace=GRACE_SECONDS)
    raise SystemExit(BAD_INPUT if code == EXIT_REFUSED else code)


def _check(queues: Sequence[str] | None) -> None:
    """Say at once what no child could work with: settings, database, schema, key, queue server, names of queues."""
    with desk.opened() as app:
        known = sorted({kind.policy.queue for kind in app.registry})
        if unknown := sorted(set(queues or ()) - set(known)):
            raise click.UsageError(f"No job uses the queue {unknown[0]}; there are {', '.join(known)}.")
        if trouble := app.bell.trouble():
            click.echo(f"The queue cannot be reached. Check MUSTER_BROKER_URL and that the server runs. ({trouble})", err=True)
            raise SystemExit(UNREACHABLE)


@click.command()
@click.option("--threads", type=click.IntRange(1, 64), default=THREADS, show_default=True, help="Threads for directory jobs.")
def up(threads: int) -> None:
    """Run Muster in this one process: workers, HTTP and console."""
    from worker import front
    from worker.app import App
    from worker.process import Staff, stop_signals
    from worker.screen import card, say

    settings = desk.read_settings()
    _log(settings.log_level)
    with _listening(settings) as (listening, settings):
        app = App(settings, pool_size=threads + 2 * MAIL_THREADS + HTTP_CONNECTIONS + 4)
        try:
            with (
                stop_signals() as wait, Staff(app, threads=threads, mail_threads=MAIL_THREADS),
                front.serving(app, listening) as url,
            ):
                say("Muster is up. Ctrl-C ends it.")
                card({"console": f"{url}/console", "to sign in": "muster token create NAME --scope admin", "API": f"{url}/docs",
                      "database": _without_password(settings.database_url),
                      "queue": _without_password(settings.broker_url or "in this process"),
                      "mails go to": _without_password(str(settings.mail_destination or "nowhere: MUSTER_SMTP_URL is not set"))})
                sys.stdout.flush()
                wait()
                say("Finishing what is in hand …")
        finally:
            app.close()


@click.command()
def api() -> None:
    """Serve HTTP alone: API, SCIM, pages and console."""
    from worker import front
    from worker.app import App
    from worker.process import stop_signals
    from worker.screen import card, say

    settings = desk.read_settings()
    _log(settings.log_level)
    with _listening(settings) as (listening, settings):
        app = App(settings, pool_size=HTTP_CONNECTIONS + 4)
        try:
            app.ready()
            with stop_signals() as wait, front.serving(app, listening) as url:
                say("Muster answers HTTP. Ctrl-C ends it.")
                card({"console": f"{url}/console", "API": f"{url}/docs"})
                sys.stdout.flush()
                wait()
        finally:
            app.close()


@contextmanager
def _listening(settings: "Settings") -> Iterator[tuple["socket", "Settings"]]:
    """Listen at once, so that whoever cannot says so before anything is begun; gives the settings with the port found."""
    from worker import front

    try:
        found = front.listen(settings.listen)
    except OSError as error:
        click.echo(f"Nothing can listen at {settings.listen}: {error.strerror or error}. MUSTER_LISTEN names another address.",
                   err=True)
        raise SystemExit(UNREACHABLE) from None
    with found:
        yield found, settings.model_copy(update={"listen": front.address(found).removeprefix("http://")})


def until_stopped() -> None:
    """Wait for SIGTERM or Ctrl-C."""
    from worker.process import stop_signals

    sys.stdout.flush()
    with stop_signals() as wait:
        wait()


def _without_password(url: str) -> str:
    import re

    return re.sub(r"://[^/@]*@", "://…@", url)


def _log(level: str) -> None:
    from worker import logs

    logs.to(None, level)


@click.command()
@click.option("--dir", "folder", type=click.Path(file_okay=False, path_type=Path),
              help="Work in this folder. [default: a fresh one, named at the end]")  # fmt: skip
@click.option("--stay", is_flag=True, help="Go on serving until Ctrl-C, as `muster up` does.")
def demo(folder: Path | None, stay: bool) -> None:
    """See Muster at work on a feed of joiners, movers and leavers."""
    from worker.demo.show import run

    raise SystemExit(run(folder, until_stopped if stay else None))
