"""The mail room: templates, the way to the relay, and what all workers know about the relay's health."""

import hashlib
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from email.utils import parseaddr
from pathlib import Path

from worker.address import InvalidAddress, parse_address
from worker.database import Database
from worker.errand import Deferred, Refused, Unavailable, Unknown
from worker.mail import breaker, failures
from worker.mail.breaker import BreakerState
from worker.mail.health import SharedBreaker
from worker.mail.letter import Letter
from worker.mail.mime import UnsafeMessage, build_message, message_id_for
from worker.mail.render import TemplateProblem, Templates, packaged_folder
from worker.mail.transport import Transport, transport_from_url
from worker.settings import Settings

# A full mailbox is emptied by a person, not within minutes.
MAILBOX_FULL_WAIT = timedelta(hours=4)
# A single refusal by policy may be greylisting in disguise; the breaker opens when it is everybody's.
POLICY_WAIT = timedelta(minutes=15)


class MailRoom:
    """Sends letters. One in each process; every thread has a connection of its own."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        """Nothing is connected or rendered yet."""
        self.database = database
        self.clock = clock
        self.settings = database.settings
        self.sender = parseaddr(self.settings.mail_from)
        self.templates = templates(self.settings)
        self._breaker = SharedBreaker(database, _row_of(self.settings), clock)
        self._mine = threading.local()
        self._open: list[Transport] = []

    def full_message_id(self, frozen: str) -> str:
        """The Message-ID that goes with what a job froze."""
        return message_id_for(frozen, self.sender[1].rpartition("@")[2])

    def send(
        self, letter: Letter, *, message_id: str, date: datetime, handing_over: Callable[[], None], now: datetime
    ) -> str:
        """Render and hand over one letter; returns the relay's reply. Raises an EdgeFailure otherwise."""
        verdict = self._decide(now)
        recipient, smtputf8, message = self._build(letter, message_id, date)
        transport = self._transport()
        try:
            if verdict == "probe":
                transport.probe()
            reply = transport.send(
                sender=self.sender[1], recipient=recipient, message=message, before_dot=handing_over, smtputf8=smtputf8
            )
        except failures.DeliveryFailure as failure:
            raise self._told(failure, recipient) from failure
        self._breaker.learn(breaker.after_success)
        return reply.text

    def close(self) -> None:
        """Close every connection."""
        for transport in self._open:
            transport.close()

    # ---------------------------------------------------------------------------------------------- building

    def _build(self, letter: Letter, message_id: str, date: datetime) -> tuple[str, bool, bytes]:
        try:
            address = parse_address(letter.email, allow_domains=self.settings.mail_domains)
            rendered = self.templates.render(letter.kind, letter.mail, locale=letter.locale, zone=letter.zone)
            reply_to = parseaddr(self.settings.mail_reply_to) if self.settings.mail_reply_to else None
            message = build_message(
                sender=self.sender, recipient=(letter.name, address.mailbox), subject=rendered.subject,
                text=rendered.text, html=rendered.html, message_id=self.full_message_id(message_id), date=date,
                reply_to=reply_to, language=rendered.language,
            )
        except InvalidAddress as error:
            raise Refused("relay_refused", str(error)) from error
        except (TemplateProblem, UnsafeMessage) as error:
            # A broken template is mended by a person; the mail waits for that, and uses no attempt.
            raise Unavailable("template_broken", str(error), self.clock() + POLICY_WAIT) from error
        return address.mailbox, address.needs_smtputf8, message

    def _transport(self) -> Transport:
        mine: Transport | None = getattr(self._mine, "transport", None)
        if mine is None:
            place = self.settings.mail_destination
            folder = place if isinstance(place, Path) else Path("mails")
            mine = transport_from_url(place if isinstance(place, str) else None, folder)
            self._mine.transport = mine
            self._open.append(mine)
        return mine

    def _decide(self, now: datetime) -> str:
        verdict, state = self._breaker.decide(now)
        if verdict == "wait":
            raise Unavailable("relay_unavailable", state.reason, state.open_until or now + breaker.LONGEST_PAUSE)
        return verdict

    def _told(self, failure: failures.DeliveryFailure, recipient: str) -> Exception:
        """Tell the breaker, and say what the failure means for this job."""
        now = self.clock()
        stand_in = hashlib.sha256(recipient.encode()).hexdigest()[:16]
        state = self._breaker.learn(lambda known: breaker.after_failure(known, failure, now, stand_in))
        if isinstance(failure, failures.OutcomeUnknown):
            return Unknown("outcome_unknown", failure.text)
        if isinstance(failure, failures.MessageRefused):
            return Refused("relay_refused", failure.text)
        if isinstance(failure, failures.MessageDeferred):
            return Deferred("relay_deferred", failure.text, MAILBOX_FULL_WAIT if failure.mailbox_full else None)
        if isinstance(failure, failures.PolicyRefused):
            return Unavailable("mail_policy", failure.text, state.open_until or now + POLICY_WAIT)
        return Unavailable("relay_unavailable", failure.text, state.open_until or now + breaker.FIRST_PAUSE)

    def health(self) -> BreakerState:
        """What all workers know about the relay."""
        return self._breaker.health()


def _row_of(settings: Settings) -> str:
    """The name of the relay's row, without the password that its URL may hold."""
    return "relay-" + hashlib.sha256(str(settings.mail_destination).encode()).hexdigest()[:16]


def templates(settings: Settings) -> Templates:
    """The mail templates: the operator's folder first, then the packaged ones."""
    folders = [folder for folder in (settings.templates, packaged_folder()) if folder is not None]
    return Templates(
        folders, organisation=settings.organisation, support=settings.support_contact,
        sender_name=parseaddr(settings.mail_from)[0],
    )
