"""What an operator hears of the files before a server starts with them."""

import dataclasses
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from credentials import Authority, ago, write_tokens
from nasfeat_server.cli.main import main
from nasfeat_server.config import Endpoint, SecurityConfig, ServerConfig
from nasfeat_server.security.check import problems, root_at_large


@pytest.fixture
def config(tmp_path: Path) -> SecurityConfig:
    """All that there is to be checked, and all is well."""
    tokens = write_tokens(tmp_path / "tokens.toml", {"a": (("one",), {})})
    return dataclasses.replace(Authority(tmp_path).mutual, tokens=tokens, user="nobody")


def test_what_is_well_is_not_complained_of(config: SecurityConfig) -> None:
    """Nor what is not there."""
    assert list(problems(config)) == []
    assert list(problems(SecurityConfig())) == []


def test_everything_that_is_wrong_is_told(config: SecurityConfig, tmp_path: Path) -> None:
    """The certificate, the rights on the key's file, the tokens and the user, each for itself."""
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    other.key.chmod(0o644)
    tokens = tmp_path / "broken.toml"
    tokens.write_text("[tenants.a]\nx = 1")
    wrong = dataclasses.replace(config, tls_key=other.key, tokens=tokens, user="nobody-of-that-name")
    expected = (
        ("tls_certificate", "the key is not that of the certificate"),
        ("tls_key", f"may read or change the key {other.key} (-rw-r--r--): chmod 600"),
        ("tokens", f"the tokens in {tokens}: a: x is no setting of a tenant"),
        ("user", "there is no user 'nobody-of-that-name'"),
    )
    for (field, complaint), (option, part) in zip(problems(wrong), expected, strict=True):
        assert (field, part in complaint) == (option, True)


def test_a_certificate_in_its_last_days_is_told(tmp_path: Path) -> None:
    """It is good still, and will not be for long."""
    authority = Authority(tmp_path)
    authority.issue(expires_at=ago(days=-2))
    ((field, found),) = problems(authority.security)
    assert (field, "in 2.0 days" in found) == ("tls_certificate", True)


@pytest.mark.parametrize(
    ("host", "reachable"),
    [
        ("127.0.0.1", False),
        ("127.8.8.8", False),
        ("::1", False),
        ("localhost", False),
        ("0.0.0.0", True),  # noqa: S104 - to be told apart from the others
        ("::", True),
        ("10.0.0.3", True),
        ("nasfeat.example", True),
    ],
)
def test_root_may_serve_its_own_machine_alone(host: str, reachable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless it becomes somebody else, or is told to; others than root may serve whom they like."""
    config = ServerConfig(metrics=Endpoint(host=host, port=1))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert (root_at_large(config) is not None) == reachable
    for security in (SecurityConfig(user="nobody"), SecurityConfig(allow_root=True)):
        assert root_at_large(dataclasses.replace(config, security=security)) is None
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert root_at_large(config) is None


def test_check_config_names_the_options(tmp_path: Path) -> None:
    """As an operator gave them, all at once, with exit code 2."""
    (tmp_path / "server.key").write_text("no key")
    options = {"--tls-cert": "server.pem", "--tls-key": "server.key", "--tokens": "tokens.toml"}
    given = [str(part) for name, file in options.items() for part in (name, tmp_path / file)]
    fake = ("--engine", "fake", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0")
    result = CliRunner().invoke(main, ["check-config", *fake, *given, "--user", "nobody-of-that-name"])
    assert result.exit_code == 2
    for complaint in (
        "--tls-cert: the certificate for TLS",
        "--tls-key: every user",
        "--tokens: ",
        "--user: there is no",
    ):
        assert complaint in result.stderr
