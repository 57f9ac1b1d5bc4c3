"""`muster mail`: look at mails as people would receive them, and try the way to the relay."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli import desk
from worker.cli.errors import REFUSED, UNREACHABLE
from worker.screen import harmless, print_json, say, table

if TYPE_CHECKING:
    from worker.settings import Settings

# Marks that our templates put around names, so that one of the other direction of writing does not turn the line.
ISOLATES = "\u2066\u2067\u2068\u2069"


@click.group()
def mail() -> None:
    """Look at mails and try the relay."""


@mail.command()
@click.argument("name", required=False)
@click.option("--open", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write the HTML page to this file.")
@click.option("--locale", help="In this language. [default: MUSTER_LOCALE]")
@desk.json_option
def preview(name: str | None, file: Path | None, locale: str | None, as_json: bool) -> None:
    """Write the mail NAME with made-up facts and print it; without NAME, list the mails there are."""
    from worker.app import load_jobs
    from worker.mail.render import TemplateProblem
    from worker.mail.room import templates
    from worker.mail.samples import mail_classes

    settings = desk.read_settings()
    registry = load_jobs(settings.actors)
    known = mail_classes(registry)
    if name is None:
        if as_json:
            for kind in known:
                print_json({"name": kind, "summary": registry[kind].summary})
        else:
            table(("mail", "when"), [(kind, registry[kind].summary) for kind in known], whole=("mail",))
        return
    if name not in known:
        raise click.UsageError(f"There is no mail {name}. The mails are: {', '.join(known)}.")
    try:
        written = templates(settings).render(
            name, known[name].sample(), locale=locale or settings.locale, zone=settings.zone
        )
    except TemplateProblem as problem:
        raise click.ClickException(str(problem)) from None
    if file is not None:
        try:
            file.write_text(written.html, encoding="utf-8")
        except OSError as problem:
            raise click.UsageError(f"{file} cannot be written: {problem.strerror}.") from None
    if as_json:
        print_json({"name": name, "language": written.language, "subject": written.subject, "text": written.text,
                    "html": written.html})  # fmt: skip
        return
    say(f"Subject: {harmless(written.subject, keep=ISOLATES)}")
    say()
    say(harmless(written.text, keep="\n" + ISOLATES))
    if file is not None:
        say(f"The HTML page is in {file}: open it with file://{file.resolve()}")


@mail.command()
@click.argument("address")
@desk.json_option
def test(address: str, as_json: bool) -> None:
    """Send a short mail to ADDRESS now, past the ledger, and say what the relay answered."""
    from email.utils import parseaddr

    from worker.address import InvalidAddress, parse_address
    from worker.mail.failures import DeliveryFailure, RelayMisconfigured, RelayUnavailable
    from worker.mail.transport import transport_from_url

    settings = desk.read_settings()
    place = settings.mail_destination
    if place is None:
        raise click.UsageError("No mail relay is configured: set MUSTER_SMTP_URL, or MUSTER_MAIL_FOLDER for trying out.")
    try:
        recipient = parse_address(address, allow_domains=settings.mail_domains)
    except InvalidAddress as problem:
        raise click.UsageError(str(problem)) from None
    transport = transport_from_url(
        place if isinstance(place, str) else None, place if isinstance(place, Path) else Path("mails")
    )
    try:
        way = transport.probe()
        reply = transport.send(
            sender=parseaddr(settings.mail_from)[1], recipient=recipient.mailbox,
            message=_message(settings, recipient.mailbox), before_dot=lambda: None, smtputf8=recipient.needs_smtputf8,
        )  # fmt: skip
    except DeliveryFailure as failure:
        if as_json:
            print_json({"to": recipient.mailbox, "accepted": False, "stage": failure.stage.value, "reply": failure.text})
        else:
            click.echo(harmless(failure.text), err=True)
        away = isinstance(failure, (RelayUnavailable, RelayMisconfigured))
        raise SystemExit(UNREACHABLE if away else REFUSED) from None
    finally:
        transport.close()
    if as_json:
        print_json({"to": recipient.mailbox, "accepted": True, "stage": "dot", "reply": reply.text})
    else:
        say(harmless(way))
        say(f"Accepted for {recipient.mailbox}: {harmless(reply.text)}")


def _message(settings: "Settings", recipient: str) -> bytes:
    """A mail that says what it is; from the sender that all mails have, so that the relay's rules are tried too."""
    from datetime import UTC, datetime
    from email.utils import parseaddr

    from worker.ids import new_id
    from worker.mail.mime import build_message, message_id_for

    sender = parseaddr(settings.mail_from)
    text = f"This is a test mail of Muster at {settings.organisation}. It arrived, so the way to you works.\n"
    return build_message(
        sender=sender, recipient=("", recipient), subject="Test mail of Muster", text=text,
        html=f"<!doctype html><html lang=en><title>Test mail of Muster</title><p>{_escaped(text)}</p></html>",
        message_id=message_id_for(new_id(), sender[1].rpartition("@")[2]), date=datetime.now(UTC), language="en",
    )  # fmt: skip


def _escaped(text: str) -> str:
    import html

    return html.escape(text)
