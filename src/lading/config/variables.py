"""Variables of the environment that are not Lading's own, but a custom of many programs."""

from __future__ import annotations

import os
from collections.abc import Mapping

from lading.config.problems import ConfigurationError

_OPEN_TELEMETRY = "error during open telemetry initialization"


def colour(environ: Mapping[str, str] | None = None) -> bool:
    """Whether colours are welcome on a terminal: not with `NO_COLOR`, whatever its value (no-color.org)."""
    return not (os.environ if environ is None else environ).get("NO_COLOR")


def storage_emulator(environ: Mapping[str, str] | None = None) -> str:
    """The address of an emulator of Google Cloud Storage, in the variable that Google's clients read."""
    return (os.environ if environ is None else environ).get("STORAGE_EMULATOR_HOST", "")


def traces_exporter(environ: Mapping[str, str] | None = None) -> str:
    """What `OTEL_*` (OpenTelemetry's own variables) say of traces: `otlp`, `console`, or empty for none.

    Without `OTEL_TRACES_EXPORTER`, naming an endpoint turns traces on. Raises `ConfigurationError`.
    """
    environ = os.environ if environ is None else environ
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return ""
    endpoints = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    unsaid = "otlp" if any(environ.get(name) for name in endpoints) else "none"
    exporter = environ.get("OTEL_TRACES_EXPORTER") or unsaid
    if exporter not in ("otlp", "console", "none"):
        what = f"OTEL_TRACES_EXPORTER: unknown exporter {exporter!r} (known: otlp, console, none)"
        raise ConfigurationError("the environment", [f"{_OPEN_TELEMETRY}: {what}"])
    for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        protocol = environ.get(name) or "http/protobuf"
        if exporter == "otlp" and protocol != "http/protobuf":
            what = f"{name}: {protocol!r} is not supported (known: http/protobuf)"
            raise ConfigurationError("the environment", [f"{_OPEN_TELEMETRY}: {what}"])
    return "" if exporter == "none" else exporter
