"""Figures for Prometheus: what is due, what was done, what is held, and how the doors answer."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Connection

from worker import telemetry
from worker.jobs import MAIL, URGENT
from worker.states import FINISHED, State
from worker.web.gate import needs

if TYPE_CHECKING:
    from worker.app import App

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Ten scrapers cost what one does.
FRESH_SECONDS = 5.0
# However much there is to count, counting takes no more than a twentieth of the time.
REST = 20.0

Labels = Sequence[str]


class Figures(Collector):
    """What the database says, read when it is asked and kept for a few seconds.

    Unfinished jobs are counted anew each time, along indexes that hold no others. What was finished is never counted
    again: a Meter remembers until when it has counted, so these figures grow from the start of this process, half a
    minute behind, and finished jobs of former times are not touched.
    """

    def __init__(self, app: "App") -> None:
        """Begin to count."""
        self.app = app
        self._lock = threading.Lock()
        self._meter = telemetry.Meter(app.clock())
        self._kept: list[Metric] = []
        self._until = 0.0

    def collect(self) -> Iterable[Metric]:
        """Give all figures, a few seconds old at most (more where counting takes long)."""
        with self._lock:
            if time.monotonic() >= self._until:
                began = time.monotonic()
                self._kept = list(self._read())
                ended = time.monotonic()
                self._until = ended + max(FRESH_SECONDS, REST * (ended - began))
            return self._kept

    def _read(self) -> Iterator[Metric]:
        now = self.app.clock()
        with self.app.database.read() as conn:
            backlog = telemetry.backlog(conn, self.app.registry, now)
            finished = self._meter.read(conn, now)
            yield from self._work(backlog)
            yield from self._done(finished)
            yield from self._waiting_for_people(conn, backlog)
            yield gauge("muster_workers_alive", "Worker processes that are alive.", (), {(): telemetry.alive(conn, now)})
        yield gauge("muster_build_info", "The release that answers.", ("version",), {(version("muster-worker"),): 1})
        yield self._breaker()

    def _work(self, backlog: telemetry.Backlog) -> Iterator[Metric]:
        queues = {URGENT, *(kind.policy.queue for kind in self.app.registry)} | set(backlog.due)
        yield gauge("muster_due_jobs", "Jobs that could be done now, by queue.", ("queue",),
                    {(queue,): backlog.due[queue] for queue in sorted(queues)})  # fmt: skip
        yield gauge("muster_due_age_seconds", "For how long the oldest due job of each queue has been due.", ("queue",),
                    {(queue,): backlog.age.get(queue, 0.0) for queue in sorted(queues)})  # fmt: skip
        yield gauge("muster_jobs", "Unfinished jobs, by kind and state.", ("kind", "state"), backlog.jobs)

    def _done(self, finished: telemetry.Finished) -> Iterator[Metric]:
        jobs: Counter[Labels] = Counter({(kind.name, state): 0 for kind in self.app.registry for state in sorted(FINISHED)})
        mails: Counter[Labels] = Counter()
        posted = {kind.name for kind in self.app.registry if kind.policy.queue == MAIL}
        mails.update({(kind, "sent"): 0 for kind in sorted(posted)})
        for (kind, state, reason), count in finished.jobs.items():
            jobs[kind, state] += count
            if kind in posted:
                mails[kind, "sent" if state == State.SUCCEEDED else reason or state] += count
        yield counter("muster_jobs_finished", "Jobs that ended since this process began to count, by how.",
                      ("kind", "state"), jobs)  # fmt: skip
        yield counter("muster_mails", "Mails that were sent, or why they were not.", ("kind", "outcome"), mails)
        yield counter("muster_job_tries_without_success", "Tries that did not succeed, by what came of them.",
                      ("kind", "outcome"), finished.tries)  # fmt: skip
        latency = HistogramMetricFamily("muster_job_duration_seconds", "From a job's acceptance to its end.", labels=["kind"])
        for kind_name in sorted(finished.seconds):
            total, buckets = 0, []
            for number, limit in enumerate((*map(str, telemetry.LATENCIES), "+Inf")):
                total += finished.latency[kind_name, number]
                buckets.append((limit, float(total)))
            latency.add_metric([kind_name], buckets, finished.seconds[kind_name])
        yield latency

    def _waiting_for_people(self, conn: Connection, backlog: telemetry.Backlog) -> Iterator[Metric]:
        held = sum(count for (_, state), count in backlog.jobs.items() if state == State.HELD)
        yield gauge("muster_held_jobs", "Jobs that wait for a person to release or cancel them.", (), {(): held})
        runs = telemetry.counts(conn, "feed_run", "source", "state")
        plans = {(source,): count for (source, state), count in runs.items() if state == "held"}
        yield gauge("muster_feed_runs", "Plans made of feeds, by source and state.", ("source", "state"), runs)
        yield gauge("muster_held_plans", "Plans that a brake holds until somebody approves or drops them.", ("source",), plans)
        yield gauge("muster_open_cases", "People whom a feed names and about whom somebody must decide.", ("source",),
                    telemetry.counts(conn, "feed_case", "source", where="state = 'open'"))  # fmt: skip
        endpoints = {("active",): 0, ("paused",): 0} | dict(telemetry.counts(conn, "webhook_endpoint", "state"))
        yield gauge("muster_webhook_endpoints", "Webhook endpoints, by whether they are told what happens.", ("state",), endpoints)
        yield counter("muster_webhook_refusals", "Deliveries whose sender could not prove who it is.", ("source",),
                      telemetry.refusals(conn))  # fmt: skip

    def _breaker(self) -> Metric:
        state = self.app.room().health().state if self.app.settings.mail_destination is not None else "closed"
        found = {(one,): int(one == state) for one in ("closed", "half-open", "open")}
        return gauge("muster_mail_breaker", "1 for the state of the breaker before the mail relay.", ("state",), found)


def gauge(name: str, text: str, labels: Labels, values: Mapping[Any, float]) -> Metric:
    """Return a gauge with one sample for each combination of labels."""
    return _filled(GaugeMetricFamily(name, text, labels=labels), values)


def counter(name: str, text: str, labels: Labels, values: Mapping[Any, float]) -> Metric:
    """Return a counter with one sample for each combination of labels; `_total` is added to its name."""
    return _filled(CounterMetricFamily(name, text, labels=labels), values)


def _filled(family: GaugeMetricFamily | CounterMetricFamily, values: Mapping[Any, float]) -> Metric:
    add: Callable[[Sequence[str], float], None] = family.add_metric
    for labels, value in values.items():
        add([str(label) for label in labels], value)
    return family


def router(app: "App", registry: CollectorRegistry) -> APIRouter:
    """Return the door of this module. `registry`: what this process counts itself."""
    found = APIRouter(tags=["health"])
    registry.register(Figures(app))

    @found.get(
        "/metrics", operation_id="metrics", summary="Figures for Prometheus", dependencies=[needs("metrics")],
        response_class=Response,
        responses={200: {"description": "Figures in Prometheus' text format",
                         "content": {"text/plain": {"schema": {"type": "string"}}}}},
    )  # fmt: skip
    def metrics() -> Response:
        """Return the figures of this process and of the database, a few seconds old at most."""
        return Response(generate_latest(registry), media_type=MEDIA_TYPE)

    return found
