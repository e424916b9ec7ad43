"""Whose rights the process has."""

import ctypes
import grp
import os
import pwd
from dataclasses import dataclass

from nasfeat_server.errors import ConfigurationError

# <linux/prctl.h>
_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Whom a process can become.

    Attributes:
        name: as it was given, for messages.
        uid: the user.
        gid: the group.
        login: the user's name if there is such an account, whose other groups come along.
        home: its home directory, "/" if there is none.
    """

    name: str
    uid: int
    gid: int
    login: str | None
    home: str

    @classmethod
    def find(cls, text: str) -> "Account":
        """Look up "NAME[:GROUP]", each a name or a number; the group is by default the user's own.

        Raises:
            ConfigurationError: there is no such user or group, or it is root.
        """
        user, _, group = text.partition(":")
        entry = _user(user)
        if entry is None and not (user.isdecimal() and group):
            raise ConfigurationError(f"there is no user {user!r} here; of one without an account, give UID:GID")
        uid = entry.pw_uid if entry else int(user)
        gid = _group(group) if group else entry.pw_gid if entry else 0
        if uid == 0:
            raise ConfigurationError(f"{text!r} is root; name a user who has no rights over the machine")
        return cls(
            name=text,
            uid=uid,
            gid=gid,
            login=entry.pw_name if entry else None,
            home=entry.pw_dir if entry else "/",
        )


def become(account: Account) -> None:
    """Give up all rights but those of `account`, for good, in every thread and for every process started from now on.

    The home directory, which caches are kept in by default, becomes the account's.

    Raises:
        ConfigurationError: the process is neither root nor this user already.
    """
    if os.geteuid() == 0:
        if account.login:
            os.initgroups(account.login, account.gid)
        else:
            os.setgroups([account.gid])
        os.setresgid(account.gid, account.gid, account.gid)
        os.setresuid(account.uid, account.uid, account.uid)
        os.environ["HOME"] = account.home
        # As of any process of that user: else its own /proc/self stays root's, and metrics cannot be read there.
        _set(_PR_SET_DUMPABLE)
    elif os.geteuid() != account.uid:
        raise ConfigurationError(f"only root can become {account.name}; the server was started by user {os.geteuid()}")
    # No program started from here has more rights than this process, whatever its file says.
    _set(_PR_SET_NO_NEW_PRIVS)


def is_root() -> bool:
    """Tell whether the process may do everything."""
    return os.geteuid() == 0


def _set(option: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), f"prctl({option}, 1) failed")


def _user(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except KeyError:
        return None


def _group(name: str) -> int:
    if name.isdecimal():
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise ConfigurationError(f"there is no group {name!r} here") from None
