"""Tenants over the changes of their file."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from credentials import write_tokens
from nasfeat_server.errors import ConfigurationError, NasfeatError, OverloadedError, UnauthenticatedError
from nasfeat_server.security.tenants import Caller, Tenants


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with two tenants."""
    return write_tokens(tmp_path / "tokens.toml", {"a": (("old", "new"), {"max_streams": 2}), "b": (("other",), {})})


def _caller(tenants: Tenants, token: str) -> Caller:
    return tenants.identify([f"Bearer {token}"])


def _is_known(tenants: Tenants, token: str) -> bool:
    try:
        _caller(tenants, token)
    except UnauthenticatedError:
        return False
    return True


def test_several_tokens_are_one_tenants(path: Path) -> None:
    """While one is replaced by the next, both are good, and count together."""
    tenants = Tenants(path)
    tenants.load()
    assert _caller(tenants, "old").tenant is _caller(tenants, "new").tenant
    assert _caller(tenants, "other").tenant.name == "b"


async def test_a_change_counts_from_the_next_look_on(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Tokens and quotas; what a tenant has under way stays its own. A look at an unchanged file reads nothing."""
    tenants = Tenants(path)
    tenants.load()
    before = _caller(tenants, "new").tenant
    write_tokens(path, {"a": (("new", "newest"), {"frames_per_second": 5.0}), "c": (("third",), {})})
    tenants.refresh()
    assert [_is_known(tenants, token) for token in ("old", "new", "newest", "other", "third")] == [
        False, True, True, False, True,
    ]  # fmt: skip
    assert _caller(tenants, "new").tenant is before
    assert (before.quota.max_streams, before.account.meter.per_second) == (None, 5.0)
    assert [tenant.name for tenant in tenants.known] == ["a", "c"]
    caplog.set_level("INFO")
    tenants.refresh()
    assert caplog.text == ""


@pytest.mark.parametrize("broken", ["tokens = [", "[tenants.a]\nfoo = 1", None])
def test_a_broken_file_changes_nothing_and_is_told_once(
    path: Path, broken: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether it cannot be read or not be understood; when it is whole again, it counts."""
    tenants = Tenants(path)
    tenants.load()
    if broken is None:
        path.unlink()
    else:
        path.write_text(broken)
    tenants.refresh()
    tenants.refresh()
    assert _is_known(tenants, "old")
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "those known before stay in force" in caplog.text
    write_tokens(path, {"a": (("newest",), {})})
    tenants.refresh()
    assert [_is_known(tenants, token) for token in ("old", "newest")] == [False, True]


def test_a_file_behind_a_link_is_followed(tmp_path: Path, path: Path) -> None:
    """As Kubernetes mounts secrets: the link is swapped, and the file may have the same size and time."""
    link, second = tmp_path / "mounted.toml", tmp_path / "second.toml"
    link.symlink_to(path)
    tenants = Tenants(link)
    tenants.load()
    write_tokens(second, {"a": (("OLD", "NEW"), {"max_streams": 2}), "b": (("OTHER",), {})})
    os.utime(second, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    assert second.stat().st_size == path.stat().st_size
    fresh = tmp_path / "fresh"
    fresh.symlink_to(second)
    fresh.replace(link)
    tenants.refresh()
    assert [_is_known(tenants, token) for token in ("old", "OLD")] == [False, True]


async def test_streams_of_a_revoked_token_end(path: Path) -> None:
    """Those of the tenant's other token, and other tenants', stay."""
    tenants = Tenants(path)
    tenants.load()
    ended: dict[str, NasfeatError] = {}
    async with (
        _caller(tenants, "old").stream(lambda why: ended.update(old=why)),
        _caller(tenants, "new").stream(lambda why: ended.update(new=why)),
        _caller(tenants, "other").stream(lambda why: ended.update(other=why)),
    ):
        write_tokens(path, {"a": (("new",), {}), "b": (("other",), {})})
        tenants.refresh()
        assert list(ended) == ["old"]
        assert isinstance(ended["old"], UnauthenticatedError)
        write_tokens(path, {"b": (("other",), {})})
        tenants.refresh()
        assert list(ended) == ["old", "new"]


async def test_what_a_tenant_that_is_gone_has_under_way_is_not_held_back(tmp_path: Path) -> None:
    """Its frames are not kept until its rate would have let them through."""
    path = write_tokens(tmp_path / "tokens.toml", {"a": (("one",), {"frames_per_second": 1e-6}), "b": ((), {})})
    tenants = Tenants(path)
    tenants.load()
    meter: Any = _caller(tenants, "one").tenant.account.meter
    frames = [asyncio.ensure_future(meter.pass_in_turn()) for _ in range(3)]
    await asyncio.sleep(0)
    assert meter.waiting == 2
    write_tokens(path, {"b": ((), {})})
    tenants.refresh()
    await asyncio.gather(*frames)


async def test_the_limit_of_streams_is_exact(path: Path) -> None:
    """And a stream that ends makes room."""
    tenants = Tenants(path)
    tenants.load()
    first, second = _caller(tenants, "old"), _caller(tenants, "new")
    async with first.stream(lambda _: None):
        for _ in range(2):
            async with second.stream(lambda _: None):
                with pytest.raises(OverloadedError, match="a has 2 streams open"):
                    await first.stream(lambda _: None).__aenter__()


@pytest.mark.parametrize(
    ("path_text", "complaint"), [("missing.toml", "No such file"), ("large.toml", "is over 1048576 bytes")]
)
def test_a_file_that_cannot_be_used_is_a_reason_not_to_start(tmp_path: Path, path_text: str, complaint: str) -> None:
    """The message names it."""
    (tmp_path / "large.toml").write_bytes(bytes(2**20 + 1))
    with pytest.raises(ConfigurationError, match=complaint):
        Tenants(tmp_path / path_text).load()
