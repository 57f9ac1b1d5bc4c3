"""Delivers parcels to endpoints, leaves failing ones alone for a while, and pauses those that stay dead."""

import logging
import ssl
from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, update

from worker.database import Database
from worker.door_tables import webhook_endpoint
from worker.errand import Deferred, Unavailable
from worker.ids import new_id
from worker.mail import breaker
from worker.mail.health import SharedBreaker
from worker.scope import Scope
from worker.webhooks import endpoints, send
from worker.webhooks.letter import headers, packed, secrets_in_force
from worker.webhooks.parcel import Parcel
from worker.webhooks.send import Answer

log = logging.getLogger(__name__)

TRIAL = "webhook.test"


class Courier:
    """Carries events to endpoints. One in each process; each call has a connection of its own."""

    def __init__(self, database: Database, clock: Callable[[], datetime], tls: ssl.SSLContext | None = None) -> None:
        """`tls`: whom to trust; as a rule whoever the system trusts."""
        self.database, self.clock = database, clock
        self._tls = tls

    def deliver(self, parcel: Parcel, now: datetime) -> str:
        """Make the call; returns what the other side said. Raises Unavailable without calling, or Deferred after it."""
        endpoint = parcel.endpoint
        known = SharedBreaker(self.database, endpoints.breaker_of(endpoint.id), self.clock)
        verdict, state = known.decide(now)
        if verdict == "wait":
            until = state.open_until or now + breaker.LONGEST_PAUSE
            # All that is due for it waits at once: thousands that ask one by one would keep the others' from going out.
            self.database.transact(lambda conn: endpoints.put_off(self._scope(conn), endpoint.id, until))
            raise Unavailable("endpoint_unavailable", state.reason, until)
        answer = self._call(endpoint, parcel.event_id, parcel.body, now)
        if answer.taken:
            # The endpoint's row is that of the gate: meanwhile another worker may have failed.
            if endpoint.failing_since is not None or known.health() != breaker.CLOSED:
                known.learn(breaker.after_success)
                self.database.transact(lambda conn: _well(conn, endpoint.id))
            return answer.said
        known.learn(lambda state: breaker.after_outage(state, answer.said, now, pause=answer.retry_after))
        self.database.transact(lambda conn: self._note(conn, endpoint.id, answer))
        log.info("webhook.failed", extra={"endpoint": endpoint.id, "event": parcel.event_id, "status": answer.status})
        # When it asked to be called again is kept by the breaker. The waits of a delivery grow all the same: they make its
        # tries last for three days.
        raise Deferred("endpoint_gone" if answer.gone else "endpoint_failed", answer.said)

    def test(self, name: str) -> Answer:
        """Send an event that never happened, for a person who waits for the answer. Raises NoSuchEndpoint."""
        with self.database.read() as conn:
            endpoint = endpoints.named(conn, name)
        now = self.clock()
        event_id = new_id()
        return self._call(endpoint, event_id, packed(TRIAL, now, {"id": event_id, "endpoint": name}), now)

    def _call(self, endpoint: Row[Any], event_id: str, body: bytes, now: datetime) -> Answer:
        signed = headers(body, event_id, now, secrets_in_force(self.database.settings, endpoint, now))
        return send.post(endpoint.url, body, signed, private=bool(endpoint.private), tls=self.tls)

    @property
    def tls(self) -> ssl.SSLContext:
        """Whom to trust; read from the system at the first call."""
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls

    def _scope(self, conn: Connection) -> Scope:
        return Scope(conn, self.clock(), self.database.settings)

    def _note(self, conn: Connection, endpoint_id: str, answer: Answer) -> None:
        """Remember since when it fails; an endpoint that is gone, or has failed for a day, is paused with a notice."""
        scope = self._scope(conn)
        change = update(webhook_endpoint).where(
            webhook_endpoint.c.id == endpoint_id, webhook_endpoint.c.state == endpoints.ACTIVE
        )
        conn.execute(change.where(webhook_endpoint.c.failing_since.is_(None)).values(failing_since=scope.now))
        row = endpoints.by_id(conn, endpoint_id)
        if row is None or row.state != endpoints.ACTIVE:
            return
        since: datetime = row.failing_since
        if answer.gone:
            why = "It answered 410 Gone: it wants nothing any more."
        elif since <= scope.now - endpoints.PAUSED_AFTER:
            why = f"It has taken nothing since {since:%Y-%m-%d %H:%M} UTC. The last try: {answer.said}"
        else:
            return
        endpoints.halt(scope, endpoints.named(conn, row.name, lock=True), by=endpoints.ITSELF, why=why)


def _well(conn: Connection, endpoint_id: str) -> None:
    conn.execute(update(webhook_endpoint).where(webhook_endpoint.c.id == endpoint_id).values(failing_since=None))
