"""Whether anything is traced: by OpenTelemetry's own variables, and never by half."""

import subprocess
import sys
from pathlib import Path

import pytest

from outbox import tracing
from outbox.errors import SettingsError
from outbox.settings import Settings
from outbox.tracing import NOWHERE, Kind

GOOD = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SPARED = ["outbox.otel", "opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http"]
TO = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    monkeypatch.setenv("DATABASE_URL", "postgresql://db/app")
    monkeypatch.setenv("REDIS_URL", "redis://cache")
    monkeypatch.setenv("OUTBOX_JWT_SECRET", "x" * 32)
    monkeypatch.setenv("OUTBOX_STATE", str(tmp_path))
    return monkeypatch


OFF = {
    "nothing is set": {},
    "empty is unset": {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
    "no endpoint": {"OTEL_SERVICE_NAME": "shop", "OTEL_TRACES_SAMPLER": "jaeger_remote"},
    "the SDK is disabled": TO | {"OTEL_SDK_DISABLED": "TRUE"},
    "no exporter": TO | {"OTEL_TRACES_EXPORTER": "none"},
    "disabled, and wrong besides": TO | {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
}


@pytest.mark.parametrize("given", OFF.values(), ids=OFF)
def test_off(environment: pytest.MonkeyPatch, given: dict[str, str]) -> None:
    for key, value in given.items():
        environment.setenv(key, value)
    tracing.start(Settings.load(), "test")
    assert not tracing.on()
    span = tracing.begin("work", Kind.INTERNAL, GOOD)
    assert (span.recorded, span.traceparent) == (False, GOOD)
    assert tracing.begin("work", Kind.INTERNAL, "garbage") is NOWHERE


WRONG = {
    "OTEL_EXPORTER_OTLP_ENDPOINT": ("collector:4318", "must be a URL like http://collector:4318"),
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": ("grpc://collector", "must be a URL like http://collector:4318"),
    "OTEL_EXPORTER_OTLP_PROTOCOL": ("grpc", "must be one of http/protobuf"),
    "OTEL_TRACES_EXPORTER": ("zipkin", "must be one of none, otlp"),
    "OTEL_TRACES_SAMPLER": ("sometimes", "must be one of always_off, always_on, "),
    "OTEL_TRACES_SAMPLER_ARG": ("10%", "must be a share of traces, 0 to 1"),
    "OUTBOX_TRACE_URL": ("https://jaeger/trace", "must be a URL with {trace_id} in it"),
}


@pytest.mark.parametrize("key", WRONG)
def test_a_wrong_value_stops_the_start(environment: pytest.MonkeyPatch, key: str) -> None:
    value, said = WRONG[key]
    for name, good in (TO | {key: value}).items():
        environment.setenv(name, good)
    with pytest.raises(SettingsError) as refused:
        Settings.load()
    assert key in str(refused.value)
    assert said in str(refused.value)


def test_a_wish_without_the_extra_is_a_clear_error(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", TO["OTEL_EXPORTER_OTLP_ENDPOINT"])
    for module in ("outbox.otel", "opentelemetry.sdk.trace"):
        environment.delitem(sys.modules, module, raising=False)
    environment.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(SettingsError, match=r"OTEL_EXPORTER_OTLP_ENDPOINT=.*outbox\[tracing\]"):
        tracing.start(Settings.load(), "test")


def test_without_a_wish_opentelemetry_is_not_imported() -> None:
    """By any of the four processes. (redis-py looks at its metrics where they are installed.)"""
    code = (
        "import sys, outbox.api.main, relay.main, workers.main, gateway.main\n"
        f"print([name for name in {SPARED} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
