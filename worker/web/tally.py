"""Counts what HTTP answered and how long it took, in this process, for /metrics."""

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics

# Below: a look into a table. Above: a batch, or somebody who waits for a job.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# When each series began is a third of the text, and nobody asks for it.
disable_created_metrics()  # type: ignore[no-untyped-call]

METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})


class Tally:
    """The figures of one server. A label never holds what a client made up."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self.registry = CollectorRegistry()
        labels = ("method", "route")
        self._answers = Counter(
            "muster_http_requests", "Requests that this process answered; status 0: the client left before the answer.",
            (*labels, "status"), registry=self.registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "muster_http_request_duration_seconds", "From the head of a request to the end of its answer.",
            labels, registry=self.registry, buckets=BUCKETS,
        )  # fmt: skip

    def note(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answer. `route`: the template, never the address."""
        known = method if method in METHODS else "other"
        self._answers.labels(known, route, str(status)).inc()
        self._seconds.labels(known, route).observe(seconds)
