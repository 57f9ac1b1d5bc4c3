"""Tell an endpoint by webhook what happened."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar

from pydantic import Field

from worker import Context, Parcel, Payload, edge_job, parcels

# Three days of tries, as Standard Webhooks advises. The time ends them, not their number: with waits that grow to six
# hours a hundred tries are never used up before.
ATTEMPTS, BASE, CAP, LIFE = 100, timedelta(seconds=5), timedelta(hours=6), timedelta(days=3)
# One call may take 15 seconds, and a lease lasts 90.
BATCH = 5

ID = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"


class DeliverWebhook(Payload):
    endpoint: str = Field(
        pattern=ID, description="The id of the endpoint", examples=["01930f3e-0000-7000-8000-000000000001"]
    )
    event: str = Field(
        pattern=ID, description="The id of the event in the audit trail, which is also the `webhook-id`",
        examples=["01930f3e-0000-7000-8000-000000000002"],
    )  # fmt: skip

    examples: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"endpoint": "01930f3e-0000-7000-8000-000000000001", "event": "01930f3e-0000-7000-8000-000000000002"},
    )


@edge_job(queue="webhooks", attempts=ATTEMPTS, base=BASE, cap=CAP, life=LIFE, batch=BATCH, unknown="again")
def deliver_webhook(ctx: Context, ask: DeliverWebhook) -> Parcel:
    """Put the event into words, unless the endpoint is gone or paused. It leaves no event of its own: that would be news."""
    return parcels.packed(ctx, ask.endpoint, ask.event)
