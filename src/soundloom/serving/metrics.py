"""Figures about the server in the format of Prometheus. No label holds a prompt, a name of a take, or an id."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from starlette.types import ASGIApp, Receive, Scope, Send

from soundloom.serving.server import Server
from soundloom.serving.storage.rows import Event

STAGE_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
HTTP_BUCKETS = (0.002, 0.005, 0.01, 0.03, 0.1, 0.3, 1, 3, 10)


class Metrics:
    """The figures of one server."""

    def __init__(self, server: Server) -> None:
        self.server, self.registry = server, CollectorRegistry()
        self.jobs = Counter("soundloom_jobs", "Jobs that ended", ["kind", "model", "state"], registry=self.registry)
        self.clips = Counter("soundloom_clips", "Clips that ended", ["state"], registry=self.registry)
        self.http = Histogram(
            "soundloom_http_seconds",
            "Time of requests",
            ["method", "route", "status"],
            buckets=HTTP_BUCKETS,
            registry=self.registry,
        )
        self.registry.register(self)
        server.hub.observers.append(self.observe)

    def observe(self, event: Event) -> None:
        """Count what happened."""
        data = event.data
        if event.kind == "item":
            self.clips.labels(data["state"]).inc()
        if event.kind == "job" and data.get("state") in ("succeeded", "failed", "canceled") and "kind" in data:
            self.jobs.labels(data["kind"], data["model"], data["state"]).inc()

    def collect(self) -> Iterator[Metric]:
        """Yield what is true at this moment."""
        dispatcher, now = self.server.dispatcher, time.time()
        waiting = [queued for queued in list(dispatcher.queue.values()) if queued.pending]
        oldest = min((queued.job.created for queued in waiting), default=now)
        yield _gauge("soundloom_queue_jobs", "Jobs with clips that wait", len(waiting))
        yield _gauge("soundloom_queue_oldest_seconds", "Age of the oldest job that waits", now - oldest)
        yield _gauge("soundloom_streams", "Open streams of events", self.server.hub.listeners)
        yield _gauge("soundloom_paused", "Whether the queue is held", float(dispatcher.is_paused))
        restarts = GaugeMetricFamily("soundloom_worker_restarts", "Restarts of workers", labels=["device"])
        busy = GaugeMetricFamily("soundloom_worker_busy", "Whether a worker runs clips", labels=["device"])
        for device in dispatcher.devices:
            restarts.add_metric([device.name], device.restarts)
            busy.add_metric([device.name], float(device.run is not None))
        yield restarts
        yield busy

    def text(self) -> bytes:
        """Return all figures."""
        return generate_latest(self.registry)


class Timing:
    """ASGI middleware that measures requests by the template of their route."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500

        async def send_and_note(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        call: Callable[..., Awaitable[None]] = self.app
        try:
            await call(scope, receive, send_and_note)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            if route != "/v1/events":  # a stream is as long as its page
                labels = (scope["method"] if route != "none" else "none", route, str(status))
                self.metrics.http.labels(*labels).observe(time.perf_counter() - start)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)
