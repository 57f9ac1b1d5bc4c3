"""What an endpoint is told: an event as {type, timestamp, data}, below 20 kB, signed as Standard Webhooks 1.0 has it."""

import base64
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, select
from standardwebhooks import Webhook

from worker.directory import tokens
from worker.scope import Scope
from worker.settings import Settings
from worker.tables import groups, users

# The other side has a day to take the new secret; until then both are good.
BOTH_FOR = timedelta(days=1)
# As much as Standard Webhooks advises; whoever wants more asks for it.
BODY_BYTES = 20_000
# Where somebody was when they did it is nobody's business out there.
_KEPT_BACK = frozenset({"ip", "user_agent"})


# ---------------------------------------------------------------------------------------------------------- secrets


def secret(settings: Settings, endpoint_id: str, number: int) -> str:
    """Return an endpoint's secret: made anew from the secret key each time, and so at rest nowhere."""
    made = tokens.derive(settings, "webhook", endpoint_id, str(number))
    return "whsec_" + base64.b64encode(base64.urlsafe_b64decode(made + "=")).decode()


def secrets_in_force(settings: Settings, endpoint: Row[Any], now: datetime) -> list[str]:
    """Return the present secret, and for a day after a rotation the one before it."""
    numbers = [endpoint.secret_number]
    if endpoint.rotated_at is not None and now < endpoint.rotated_at + BOTH_FOR:
        numbers.append(endpoint.secret_number - 1)
    return [secret(settings, endpoint.id, number) for number in numbers]


def headers(body: bytes, event_id: str, now: datetime, secrets: list[str]) -> dict[str, str]:
    """Return the headers of one try: the id is the event's at every try, the time is this try's."""
    signed = [Webhook(one).sign(event_id, now, body.decode()) for one in secrets]
    return {
        "Content-Type": "application/json", "webhook-id": event_id, "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signed),
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------------------- body


def body_of(scope: Scope, event: Row[Any]) -> bytes:
    """Return what is told of an event. The name is the present one of whom it happened to; nobody else is named."""
    data = {
        "id": event.id, "target": event.target, "target_name": _name_of(scope, event.target), "actor": event.actor,
        "on_behalf_of": event.on_behalf_of, "why": event.why, "job": event.job, "facts": _facts(event.data or {}),
    }  # fmt: skip
    body = packed(event.action, event.at, data)
    if len(body) >= BODY_BYTES:
        body = packed(event.action, event.at, {**data, "why": None, "facts": {}, "shortened": True})
    return body


def packed(action: str, at: datetime, data: Mapping[str, Any]) -> bytes:
    """Return the body: compact JSON in UTF-8."""
    whole = {"type": action, "timestamp": at.isoformat().replace("+00:00", "Z"), "data": data}
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode()


def _name_of(scope: Scope, target: str | None) -> str | None:
    if target is None:
        return None
    for table, name in ((users, users.c.username), (groups, groups.c.name)):
        found: str | None = scope.conn.execute(select(name).where(table.c.id == target)).scalar_one_or_none()
        if found is not None:
            return found
    return None


def _facts(data: Mapping[str, Any]) -> dict[str, Any]:
    """What the trail knows besides, without values of fields: which ones changed is said, and the rest can be read here."""
    facts = {name: value for name, value in data.items() if name not in _KEPT_BACK}
    if isinstance(facts.get("changes"), Mapping):
        facts["changes"] = sorted(facts["changes"])
    return facts
