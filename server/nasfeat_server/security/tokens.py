"""The file of tenants and the hashes of their tokens, as plain values.

A token has 256 random bits, so that a plain SHA-256 of it can neither be guessed back nor looked up: what slow
hashes protect are passwords. The file tells nobody a token.
"""

import hashlib
import hmac
import math
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from nasfeat_server.config.toml import parse_toml
from nasfeat_server.errors import ConfigurationError
from nasfeat_server.scheduling.quota import Rate

Priority = Literal["low", "normal", "high"]

# With a beginning of its own a token is found by whoever scans for leaked ones.
_PREFIX = "nasfeat_"
_SCHEME = "sha256:"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HASH = re.compile(_SCHEME + "[0-9a-fA-F]{64}")
_SETTINGS = frozenset({"tokens", "frames_per_second", "burst", "max_streams", "max_priority"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """What a tenant may have.

    Attributes:
        rate: of frames; None for no limit of its own.
        max_streams: streams open at once; None likewise.
        max_priority: what a stream is granted at most.
    """

    rate: Rate | None = None
    max_streams: int | None = None
    max_priority: Priority = "high"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenTable:
    """What a file of tenants says.

    Attributes:
        quotas: of each tenant, by name.
        owners: the tenant of each token, by the token's hash.
    """

    quotas: Mapping[str, Quota]
    owners: Mapping[bytes, str]

    def find(self, token: str) -> bytes | None:
        """Find the hash of `token`, if it is a known one: in the same time, whichever it is or is not."""
        asked = digest(token)
        found = None
        for known in self.owners:
            if hmac.compare_digest(known, asked):
                found = known
        return found


def new_token() -> str:
    """Make a token."""
    return _PREFIX + secrets.token_urlsafe(32)


def digest(token: str) -> bytes:
    """Hash a token."""
    return hashlib.sha256(token.encode()).digest()


def written(token: str) -> str:
    """Give the hash of a token as the file has it."""
    return _SCHEME + digest(token).hex()


def check_name(name: str) -> None:
    """Refuse what cannot name a tenant, in a table of TOML and in a metric's label.

    Raises:
        ConfigurationError: `name` is no such name.
    """
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} cannot name a tenant: 1 to 64 letters, digits, '.', '_' and '-', the first a letter or digit"
        )


def parse_tokens(content: bytes) -> TokenTable:
    """Read the content of a file of tenants.

    Raises:
        ConfigurationError: names everything that is wrong with it.
    """
    told = parse_toml(content)
    tenants = told.pop("tenants", {})
    wrong = [f"{name} is no part of it; there is [tenants.NAME] alone" for name in told]
    if not isinstance(tenants, dict) or not tenants:
        wrong.append("there is no tenant: a table [tenants.NAME]")
        tenants = {}
    quotas: dict[str, Quota] = {}
    owners: dict[bytes, str] = {}
    for name, settings in tenants.items():
        wrong += _take_in(name, settings, quotas, owners)
    if wrong:
        raise ConfigurationError("; ".join(wrong))
    return TokenTable(quotas=quotas, owners=owners)


def _take_in(name: str, settings: Any, quotas: dict[str, Quota], owners: dict[bytes, str]) -> list[str]:
    """Add a tenant to what is known; gives what is wrong with it."""
    try:
        check_name(name)
    except ConfigurationError as error:
        return [str(error)]
    if not isinstance(settings, dict):
        return [f"{name}: a tenant is a table, [tenants.{name}]"]
    wrong = [f"{key} is no setting of a tenant" for key in sorted(settings.keys() - _SETTINGS)]
    wrong += _wrong_numbers(settings)
    hashes = settings.get("tokens", [])
    if not isinstance(hashes, list):
        wrong.append("tokens must be a list")
        hashes = []
    for number, text in enumerate(hashes, 1):
        known = _hash_of(text)
        if known is None:
            # Not the text: it may be a token that was put where its hash belongs.
            wrong.append(f"the hash number {number} is not '{_SCHEME}' and 64 hexadecimal digits")
        elif known in owners:
            wrong.append(f"the hash number {number} is that of a token of {owners[known]} too")
        else:
            owners[known] = name
    if not wrong:
        quotas[name] = _quota(settings)
    return [f"{name}: {message}" for message in wrong]


def _wrong_numbers(settings: Mapping[str, Any]) -> list[str]:
    rate, burst, streams = (settings.get(key) for key in ("frames_per_second", "burst", "max_streams"))
    priority = settings.get("max_priority", "high")
    right = (
        (rate is None or (_is_number(rate) and rate > 0), f"frames_per_second must be a number over 0, not {rate!r}"),
        (burst is None or (_is_number(burst) and burst >= 1), f"burst must be 1 frame or more, not {burst!r}"),
        (burst is None or rate is not None, "burst means nothing without frames_per_second"),
        (streams is None or (type(streams) is int and streams >= 0), f"max_streams must be 0 or more, not {streams!r}"),
        (priority in get_args(Priority), f"max_priority must be low, normal or high, not {priority!r}"),
    )
    return [message for holds, message in right if not holds]


def _is_number(value: object) -> bool:
    return type(value) is int or (isinstance(value, float) and math.isfinite(value))


def _quota(settings: Mapping[str, Any]) -> Quota:
    per_second = settings.get("frames_per_second")
    # A second's worth, so that a camera's frames need not come at even intervals.
    burst = settings.get("burst") or max(1.0, per_second or 0)
    return Quota(
        rate=None if per_second is None else Rate(per_second=float(per_second), burst=float(burst)),
        max_streams=settings.get("max_streams"),
        max_priority=settings.get("max_priority", "high"),
    )


def _hash_of(text: object) -> bytes | None:
    if not isinstance(text, str) or not _HASH.fullmatch(text):
        return None
    return bytes.fromhex(text.removeprefix(_SCHEME))
