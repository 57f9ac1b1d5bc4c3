"""One delivery as an errand: looked up and put into words in the gate, carried by the courier, tried again by the ledger."""

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, select

from worker.context import Context
from worker.errand import Desk, Receipt
from worker.outcomes import Reject, Snooze
from worker.tables import event
from worker.webhooks import endpoints
from worker.webhooks.letter import body_of

if TYPE_CHECKING:
    from worker.webhooks.courier import Courier


# A delivery that a person brought back after its time, while its endpoint is still paused, is looked at this often.
BROUGHT_BACK = timedelta(hours=1)


@dataclass(frozen=True)
class Parcel:
    """An event on its way to an endpoint (its row as it was in the gate). The words of it rest nowhere."""

    endpoint: Row[Any]
    event_id: str
    body: bytes

    def carry(self, desk: Desk) -> Receipt:
        """Deliver it.

        It never says that it hands over: whoever gets an event twice knows it by its id, so that a call whose outcome
        nobody knows is simply made again.
        """
        courier: Courier = desk.tool("webhooks")
        return Receipt(courier.deliver(self, desk.now), desk.now, {"webhook_id": self.event_id})


def packed(ctx: Context, endpoint_id: str, event_id: str) -> Parcel:
    """Return what is to be delivered. Raises Reject when endpoint or event are gone, and Snooze while it is paused."""
    endpoint = endpoints.by_id(ctx.conn, endpoint_id)
    if endpoint is not None and endpoint.state == endpoints.PAUSED:
        # Looked at again, for keeps: were it resumed at this moment, nobody would wake this delivery any more.
        endpoint = endpoints.by_id(ctx.conn, endpoint_id, settled=True)
    if endpoint is None:
        raise Reject("unknown_endpoint", endpoint=endpoint_id)
    if endpoint.state == endpoints.PAUSED:
        until = ctx.task.created_at + endpoints.LIFE
        raise Snooze(until if until > ctx.now else ctx.now + BROUGHT_BACK, why=f"The endpoint {endpoint.name} is paused; `muster webhook resume` lets this go.")
    row = ctx.conn.execute(select(event).where(event.c.id == event_id)).one_or_none()
    if row is None:
        raise Reject("unknown_event", event=event_id)
    return Parcel(endpoint, row.id, body_of(ctx, row))
