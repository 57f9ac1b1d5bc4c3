"""What both queues have in common: one dramatiq actor a kind, which hands every arrival to the doorway."""

import abc
import logging
import threading
import traceback
from collections.abc import Iterable, Mapping

import dramatiq
from dramatiq.broker import MessageProxy

from worker.queue.arrivals import Arrival
from worker.queue.doorway import URGENT, Doorway
from worker.queue.hand import Hand, Seats

log = logging.getLogger(__name__)

REFUSALS = "muster.refusals"
"""The actor that takes what cannot be read; no kind can have this name, for kinds are Python names."""

DEFAULT_SEATS = 16
"""For a dramatiq Worker that is started without our pools; the pools say how many threads they have."""


QUIET_SECONDS = 0.05
"""How long a consumer that may take nothing more sleeps between looks at whether its thread has been stopped."""


class DoorBroker(dramatiq.Broker, abc.ABC):
    """A dramatiq broker whose messages are bells and ingress. Without middleware: the ledger does what middleware would."""

    def __init__(self) -> None:
        super().__init__(middleware=[])
        self._prepare()

    def _prepare(self) -> None:
        self.kinds: Mapping[str, str] = {}
        self.doorway: Doorway | None = None
        self.hands: dict[str, Hand] = {}
        self.quieted = threading.Event()
        self._hands_lock = threading.Lock()

    # Ringing ------------------------------------------------------------------------------------------------------

    @abc.abstractmethod
    def ring(self, kind: str, queue: str) -> bool:
        """See `worker.queue.Bell.ring`."""

    @abc.abstractmethod
    def clear(self, kind: str, queue: str) -> None:
        """See `worker.queue.Bell.clear`."""

    @abc.abstractmethod
    def trouble(self) -> str | None:
        """See `worker.queue.Bell.trouble`."""

    # Answering ----------------------------------------------------------------------------------------------------

    def install(self, kinds: Mapping[str, str], doorway: Doorway | None) -> None:
        """Declare an actor for each kind on its home queue, and the urgent queue, through which all of them can be addressed."""
        self.kinds = dict(kinds)
        self.doorway = doorway
        self.declare_queue(URGENT)
        for kind, home in self.kinds.items():
            dramatiq.actor(actor_name=kind, queue_name=home, broker=self)(self.answer)
        dramatiq.actor(actor_name=REFUSALS, queue_name=URGENT, broker=self)(self.answer)

    def seat(self, queues: Iterable[str], threads: int) -> None:
        """Say that these queues share so many threads. Before the first `consume`."""
        seats = Seats(threads)
        with self._hands_lock:
            for queue in queues:
                self.hands[queue] = Hand(seats)

    def hand(self, queue: str) -> Hand:
        """Give the bookkeeping of one queue."""
        with self._hands_lock:
            if queue not in self.hands:
                self.hands[queue] = Hand(Seats(DEFAULT_SEATS))
            return self.hands[queue]

    def quiet(self) -> None:
        """Take nothing more from the queues; what is in hand goes on."""
        self.quieted.set()

    @abc.abstractmethod
    def close(self) -> None:
        """Put back whatever is still in hand, say goodbye, close the connections. The broker cannot be used afterwards."""

    def proxy(self, arrival: Arrival) -> MessageProxy:
        """Wrap an arrival as the message that dramatiq's Worker carries to the actor."""
        message: dramatiq.Message[None] = dramatiq.Message(
            queue_name=arrival.queue,  # where it really came from: the Worker finds the way back by this name
            actor_name=arrival.kind or REFUSALS,
            args=(arrival,),
            kwargs={},
            options={"redis_message_id": arrival.slip},
            message_id=arrival.message_id,
        )
        return MessageProxy(message)

    def answer(self, arrival: Arrival) -> None:
        """Hand one arrival to the doorway. This is the function of every actor; it sets `done` and never raises."""
        if arrival.done:
            log.debug("queue.bell_for_newer_workers", extra={"queue": arrival.queue})
            return
        where = {"queue": arrival.queue, "kind": arrival.kind, "message_id": arrival.message_id}
        try:
            self._hand_over(arrival)
        except Exception as error:
            where |= {"error": type(error).__name__, "at": _place(error)}
            if arrival.refused is None and not arrival.kwargs:
                log.warning("bell.failed", extra=where)  # the ledger still has the work, and the keeper rings again
                arrival.done = True
            else:
                log.warning("queue.not_recorded", extra=where)
        else:
            arrival.done = True

    def _hand_over(self, arrival: Arrival) -> None:
        if self.doorway is None:
            raise RuntimeError("this process only rings; it has no doorway")
        if arrival.refused is not None:
            log.warning(
                "queue.unreadable",
                extra={"queue": arrival.queue, "message_id": arrival.message_id, "reason": arrival.refused},
            )
            self.doorway.unreadable(arrival.queue, arrival.raw, arrival.refused, arrival.message_id)
        elif arrival.kwargs:
            self.doorway.ingress(arrival.kind, arrival.queue, arrival.kwargs, arrival.message_id)
        elif arrival.queue in (URGENT, self.kinds[arrival.kind]):
            self.doorway.bell(arrival.kind, arrival.queue)
        else:  # rung at a wrong door: let the pool that serves this kind do it
            self.ring(arrival.kind, self.kinds[arrival.kind])


def refuse_delay(delay: int | None) -> None:
    """A delay belongs in the ledger."""
    if delay is not None:
        raise ValueError("Muster's queue holds no delayed messages; submit the job with run_at instead")


def arrival_of(message: MessageProxy) -> Arrival:
    """Give the arrival back that `proxy` wrapped."""
    arrival = message.args[0]
    assert isinstance(arrival, Arrival)
    return arrival


def _place(error: BaseException) -> str:
    """Say where it was raised. The text of a database error can hold payload values, so it is not logged here."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
