"""What an operator hears of the files before a server starts with them."""

import dataclasses
from pathlib import Path

import pytest

from credentials import Authority, ago, write_tokens
from nasfeat_server.config import SecurityConfig
from nasfeat_server.security.check import problems


@pytest.fixture
def config(tmp_path: Path) -> SecurityConfig:
    """All that there is to be checked, and all is well."""
    tokens = write_tokens(tmp_path / "tokens.toml", {"a": (("one",), {})})
    return dataclasses.replace(Authority(tmp_path).mutual, tokens=tokens, user="nobody")


def test_what_is_well_is_not_complained_of(config: SecurityConfig) -> None:
    """Nor what is not there."""
    assert problems(config) == ()
    assert problems(SecurityConfig()) == ()


def test_everything_that_is_wrong_is_told(config: SecurityConfig, tmp_path: Path) -> None:
    """The certificate, the rights on the key's file, the tokens and the user, each for itself."""
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    other.key.chmod(0o644)
    tokens = tmp_path / "broken.toml"
    tokens.write_text("[tenants.a]\nx = 1")
    found = problems(dataclasses.replace(config, tls_key=other.key, tokens=tokens, user="nobody-of-that-name"))
    assert len(found) == 4
    for complaint, part in zip(
        found,
        (
            "the key is not that of the certificate",
            f"may read or change the key {other.key} (-rw-r--r--): chmod 600",
            f"the tokens in {tokens}: a: x is no setting of a tenant",
            "there is no user 'nobody-of-that-name'",
        ),
        strict=True,
    ):
        assert part in complaint


def test_a_certificate_in_its_last_days_is_told(tmp_path: Path) -> None:
    """It is good still, and will not be for long."""
    authority = Authority(tmp_path)
    authority.issue(expires_at=ago(days=-2))
    (found,) = problems(authority.security)
    assert "in 2.0 days" in found
