"""Settings of tracing."""

import sys

import pytest
from click.testing import CliRunner, Result

from nasfeat_server.app import App
from nasfeat_server.cli.main import main
from nasfeat_server.config import ServerConfig, TracingConfig
from nasfeat_server.errors import ConfigurationError

_FAKE = ("--engine", "fake", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0")


def _check(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["check-config", *_FAKE, *arguments])


@pytest.mark.parametrize("url", ["http://localhost:4317", "https://collector.example:4317/", "http://[::1]:4317"])
def test_collectors_are_urls(url: str) -> None:
    """With or without TLS, by name or address, with a port."""
    assert _check("--trace-endpoint", url).exit_code == 0


@pytest.mark.parametrize(
    "url",
    [
        *("", "localhost:4317", "grpc://localhost:4317", "http://:4317", "http://localhost", "http://host:port"),
        *("http://host:4318/v1/traces", "http://me:secret@host:4317", "http://[::1:4317"),
    ],
)
def test_what_is_no_collector_is_refused(url: str) -> None:
    """With what one is, by the name of the setting, together with whatever else is wrong."""
    result = _check("--trace-endpoint", url, "--grace", "-1", "--trace-ratio", "1.5")
    assert result.exit_code == 2
    assert f"--trace-endpoint: a collector is http://HOST:PORT or https://HOST:PORT, not {url!r}" in result.stderr
    assert "--trace-ratio: 1.5 is not in the range" in result.stderr
    assert "--grace" in result.stderr


@pytest.mark.parametrize("wrong", [{"ratio": -0.1}, {"ratio": float("nan")}, {"limit": 0.0}])
def test_what_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    """Whoever makes the configuration."""
    with pytest.raises(ConfigurationError):
        TracingConfig(**wrong)  # type: ignore[arg-type]


def test_without_its_libraries_tracing_is_refused_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator is told what to install, by a check and by the start; a server that traces nothing needs none."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "opentelemetry"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [_Nowhere, *sys.meta_path])
    result = _check("--trace-endpoint", "http://localhost:4317")
    assert result.exit_code == 2
    assert "--trace-endpoint: tracing needs OpenTelemetry" in result.stderr
    assert "pip install 'nasfeat[otel]'" in result.stderr
    with pytest.raises(ConfigurationError, match="nasfeat\\[otel\\]"):
        App(ServerConfig(tracing=TracingConfig(endpoint="http://localhost:4317")))
    App(ServerConfig())


class _Nowhere:
    """Finds no OpenTelemetry."""

    @staticmethod
    def find_spec(name: str, *_: object) -> None:
        """Say that it is not there."""
        if name.partition(".")[0] == "opentelemetry":
            raise ModuleNotFoundError(name=name)
