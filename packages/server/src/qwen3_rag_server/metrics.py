"""`Metrics`: what the server counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

__all__ = ["Metrics"]

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """The measures of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "qwen3_rag_requests",
            "Requests by path and status; 499 if the client did not wait.",
            ["path", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "qwen3_rag_request_seconds",
            "Seconds from a request's headers to its answer.",
            ["path"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._texts = Counter(
            "qwen3_rag_texts", "Texts and pairs that were admitted.", registry=self._registry
        )
        self._queue = Gauge(
            "qwen3_rag_queue_length", "Texts and pairs that wait or run.", registry=self._registry
        )

    def count(self, path: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    @contextmanager
    def waiting(self, texts: int) -> Iterator[None]:
        """Count texts while they wait and run."""
        self._texts.inc(texts)
        self._queue.inc(texts)
        try:
            yield
        finally:
            self._queue.dec(texts)

    def page(self) -> tuple[str, str]:
        """Return the measures in Prometheus' text format, and the format's name."""
        return generate_latest(self._registry).decode(), CONTENT_TYPE_LATEST
