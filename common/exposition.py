"""/metrics for Prometheus: reads what a tier counts anyway, at the moment it is asked.

    counters ──┐
    readings() ┴─> collector ─> text ─> one thread that listens, if a port is set

Nothing is counted a second time for it, and without a port nothing of it is loaded.
"""

# ruff: noqa: PLC0415 - prometheus-client is loaded by those who want it

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from aiflow import __version__
from aiflow.common.catalogue import CATALOGUE
from aiflow.common.config import Metrics
from aiflow.common.errors import ConfigError
from aiflow.common.metrics import Counters, Distribution

if TYPE_CHECKING:
    from http.server import HTTPServer

    from prometheus_client import CollectorRegistry
    from prometheus_client import Metric as Family

log = logging.getLogger(__name__)

CLIENT_S: Final = 5.0
"""One at a time is served; who is slower than this is cut off."""


class Total(NamedTuple):
    """How often, and how much in all: a summary's value."""

    times: int
    amount: float


class Reading(NamedTuple):
    """A value at this moment, under a name of the catalogue."""

    name: str
    value: float | Total | Distribution
    labels: Mapping[str, str] = {}


Readings = Callable[[], Iterable[Reading]]


@contextmanager
def exposed(
    settings: Metrics, bundle_id: str, counters: Counters, readings: Readings
) -> Iterator[None]:
    """Serve /metrics meanwhile, if a port is set. That it is taken is no reason to do nothing else.

    Raises ConfigError when prometheus-client is missing.
    """
    if settings.port is None:
        yield
        return
    info = Reading("aiflow_info", 1, {"version": __version__, "bundle": bundle_id})
    registry = _registry(counters, lambda: [info, *readings()])
    where = f"{settings.host}:{settings.port}"
    try:
        server = _server(settings.host, settings.port, registry)
    except OSError as error:
        log.error("no metrics at %s: %s", where, error.strerror or error)  # noqa: TRY400
        yield
        return
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    with server:
        thread.start()
        log.info("metrics at http://%s:%d/metrics", *server.server_address[:2])
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def _registry(counters: Counters, readings: Readings) -> CollectorRegistry:
    try:
        from prometheus_client import CollectorRegistry, ProcessCollector
    except ImportError as error:
        raise ConfigError(
            "[metrics] needs prometheus-client (pip install prometheus-client), or leave port unset"
        ) from error
    registry = CollectorRegistry()
    registry.register(_Collector(counters, readings))
    ProcessCollector(registry=registry)
    return registry


def _server(host: str, port: int, registry: CollectorRegistry) -> HTTPServer:
    from http.server import HTTPServer

    from prometheus_client.exposition import MetricsHandler

    class Handler(MetricsHandler):
        timeout = CLIENT_S

        def do_GET(self) -> None:  # noqa: N802 - named by http.server
            if self.path.partition("?")[0] == "/metrics":
                super().do_GET()
            else:
                self.send_error(404, "there is /metrics")

    Handler.registry = registry
    return HTTPServer((host, port), Handler)


class _Collector:
    """prometheus-client calls `collect` for each answer."""

    def __init__(self, counters: Counters, readings: Readings) -> None:
        self._counters = counters
        self._readings = readings

    def collect(self) -> Iterable[Family]:
        families: dict[str, Family] = {}
        for name, labels, count in self._counters.series():
            _add(families, Reading(name, count, labels))
        for reading in self._readings():
            _add(families, reading)
        return families.values()


def _add(families: dict[str, Family], reading: Reading) -> None:
    from prometheus_client.metrics_core import Metric as NewFamily

    name, value, labels = reading.name, reading.value, dict(reading.labels)
    metric = CATALOGUE.get(name)
    kind = metric.kind if metric is not None else "counter"
    base = name.removesuffix("_total") if kind == "counter" else name
    if base not in families:
        families[base] = NewFamily(base, metric.meaning if metric is not None else "", kind)
    add = families[base].add_sample
    if isinstance(value, Total):
        add(f"{name}_count", labels, value.times)
        add(f"{name}_sum", labels, value.amount)
    elif isinstance(value, Distribution):
        for bound, count in value.cumulative():
            add(f"{name}_bucket", labels | {"le": bound}, count)
        add(f"{name}_count", labels, value.count)
        add(f"{name}_sum", labels, value.sum)
    else:
        add(name, labels, float(value))
