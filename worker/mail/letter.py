"""One mail as an errand: rendered in memory, handed to the relay, never at rest anywhere."""

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from worker.errand import Desk, Receipt
from worker.mail.render import Mail

if TYPE_CHECKING:
    from worker.mail.room import MailRoom

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Letter:
    """A mail to one person. `kind` names its template folder; `locale` and `zone` are the reader's."""

    kind: str
    email: str
    name: str
    mail: Mail
    locale: str
    zone: str

    def carry(self, desk: Desk) -> Receipt:
        """Render and send it, with the Message-ID and Date that the job froze at its first try."""
        room: MailRoom = desk.tool("mail")
        date = datetime.fromisoformat(desk.frozen["date"])
        reply = room.send(self, message_id=desk.frozen["message_id"], date=date, handing_over=desk.handing_over,
                          now=desk.now)
        return Receipt(reply, desk.now, {"message_id": room.full_message_id(desk.frozen["message_id"])})
