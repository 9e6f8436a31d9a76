"""The samples that our processes export, by name: from the metrics themselves, as no process need run for it."""

from functools import cache

from prometheus_client import REGISTRY, Metric
from prometheus_client.registry import Collector

import gateway.metrics
import outbox.api.metrics
import outbox.jwks
import outbox.vitals
import relay.expiry
import relay.metrics
import relay.survey
import workers.metrics

MODULES = (
    gateway.metrics,
    outbox.api.metrics,
    outbox.jwks,
    outbox.vitals,
    relay.expiry,
    relay.metrics,
    relay.survey,
    workers.metrics,
)
OF_PROMETHEUS = {"up"}
SUFFIXES = {
    "counter": ("_total", "_created"),
    "histogram": ("_bucket", "_sum", "_count", "_created"),
    "gauge": ("",),
    "info": ("_info",),
}


@cache
def samples() -> frozenset[str]:
    return frozenset(name for metric in described() for name in names_of(metric)) | OF_PROMETHEUS


def described() -> list[Metric]:
    found: list[Metric] = []
    for collector in list(REGISTRY._collector_to_names):
        found += described_by(collector)
    return found


def described_by(collector: Collector) -> list[Metric]:
    describe = getattr(collector, "describe", None)
    return list(describe() if describe else collector.collect())


def names_of(metric: Metric) -> list[str]:
    return [metric.name + suffix for suffix in SUFFIXES.get(metric.type, ("",))]
