"""The settings that say whether anything is traced. Their names are OpenTelemetry's own, which every platform knows.

Those that are not here (headers, the queue, resource attributes) are read by its SDK alone.
"""

from collections.abc import Iterator
from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings

# gRPC is not spoken: it would bring ten megabytes of C for what any collector takes over HTTP.
PROTOCOLS = frozenset({"", "http/protobuf"})
EXPORTERS = frozenset({"", "otlp", "none"})
SAMPLERS = frozenset(
    {
        "",
        *(
            f"{by}{name}"
            for by in ("", "parentbased_")
            for name in ("always_on", "always_off", "traceidratio")
        ),
    }
)


class OtelSettings(BaseSettings):
    """https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/

    An empty value is as none, and all of them are looked at only where something is to be traced: a platform may set
    some for all that runs on it.
    """

    otlp_endpoint: str = Field("", validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")
    otlp_traces_endpoint: str = Field("", validation_alias="OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    otlp_protocol: str = Field("", validation_alias="OTEL_EXPORTER_OTLP_PROTOCOL")
    otlp_traces_protocol: str = Field("", validation_alias="OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
    traces_exporter: str = Field("", validation_alias="OTEL_TRACES_EXPORTER")
    traces_sampler: str = Field("", validation_alias="OTEL_TRACES_SAMPLER")
    traces_sampler_arg: str = Field("", validation_alias="OTEL_TRACES_SAMPLER_ARG")
    otel_sdk_disabled: str = Field("", validation_alias="OTEL_SDK_DISABLED")

    @property
    def traced_to(self) -> str | None:
        """The variable that asks for traces, with its value; None where nothing does, or they are switched off."""
        if lowered(self.otel_sdk_disabled) == "true" or lowered(self.traces_exporter) == "none":
            return None
        asked = {
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": self.otlp_traces_endpoint,
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.otlp_endpoint,
        }
        return next((f"{key}={value}" for key, value in asked.items() if value), None)

    @model_validator(mode="after")
    def can_be_traced(self) -> Self:
        """The SDK itself would go on with a default, and one would look for the traces in vain."""
        if self.traced_to is not None and (broken := list(untraceable(self))):
            raise ValueError("\n".join(broken))
        return self


def untraceable(settings: OtelSettings) -> Iterator[str]:
    """As `KEY=value: rule`."""
    to = settings.traced_to or ""
    if not to.partition("=")[2].startswith(("http://", "https://")):
        yield f"{to}: must be a URL like http://collector:4318"
    protocol = settings.otlp_traces_protocol or settings.otlp_protocol
    named = (
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol, PROTOCOLS),
        ("OTEL_TRACES_EXPORTER", settings.traces_exporter, EXPORTERS),
        ("OTEL_TRACES_SAMPLER", settings.traces_sampler, SAMPLERS),
    )
    for key, value, known in named:
        if lowered(value) not in known:
            yield f"{key}={value}: must be one of {', '.join(sorted(known - {''}))}"
    if settings.traces_sampler_arg and not is_share(settings.traces_sampler_arg):
        yield f"OTEL_TRACES_SAMPLER_ARG={settings.traces_sampler_arg}: must be a share of traces, 0 to 1"


def lowered(value: str) -> str:
    return value.strip().lower()


def is_share(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False
