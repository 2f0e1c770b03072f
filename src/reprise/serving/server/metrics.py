"""What `/metrics` says, in Prometheus' text format."""

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


class Metrics:
    """The metrics of one server, in a registry of its own."""

    def __init__(self, model_age: Callable[[], float] = lambda: 0.0) -> None:
        """Create them; `model_age` returns the seconds since the served model was stored."""
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second line for each counter
        own = self.registry = CollectorRegistry()
        ProcessCollector(registry=own)
        self.requests = Counter(
            "reprise_requests", "Requests by route and status", ["route", "status"], registry=own
        )
        self.latency = Histogram(
            "reprise_request_seconds",
            "Seconds from a request's headers to its answer",
            ["route"],
            buckets=_SECONDS,
            registry=own,
        )
        self.queue = Gauge("reprise_queue", "Histories that wait", registry=own)
        self.refused = Counter(
            "reprise_queue_refused", "Requests refused because the queue was full", registry=own
        )
        self._size = Histogram(
            "reprise_batch_size", "Histories computed together", buckets=_SIZES, registry=own
        )
        self._seconds = Histogram(
            "reprise_batch_seconds", "Seconds that a batch took", buckets=_SECONDS, registry=own
        )
        self.histories = Counter("reprise_histories", "Histories answered", registry=own)
        self.empty = Counter(
            "reprise_histories_empty",
            "Histories without known items, answered with popular items",
            registry=own,
        )
        self.items = Counter("reprise_history_items", "Items of histories", registry=own)
        self.unknown = Counter(
            "reprise_history_items_unknown", "Items of histories that are unknown", registry=own
        )
        age = Gauge(
            "reprise_model_age_seconds", "Seconds since the served model was stored", registry=own
        )
        age.set_function(model_age)
        self.step = Gauge("reprise_model_step", "Training steps of the served model", registry=own)
        self.model = Info("reprise_model", "The served model", registry=own)
        self.swaps = Counter(
            "reprise_swaps", "Checkpoints found by --watch, by result", ["result"], registry=own
        )
        self.overlap = Gauge(
            "reprise_swap_overlap",
            "Share of items common to the lists of the model before and after the last swap",
            registry=own,
        )

    def batches(self, size: int, seconds: float) -> None:
        """Note a batch."""
        self._size.observe(size)
        self._seconds.observe(seconds)

    def answered(self, items: int, unknown: int, empty: bool) -> None:
        """Note the answer to a history of so many items."""
        self.histories.inc()
        self.empty.inc(empty)
        self.items.inc(items)
        self.unknown.inc(unknown)

    def text(self) -> bytes:
        """Return all of them in Prometheus' text format."""
        return generate_latest(self.registry)
