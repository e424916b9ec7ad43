"""Whose rights the process has."""

import os
import pwd
import subprocess

import pytest

from nasfeat_server.errors import ConfigurationError
from nasfeat_server.security.privileges import Account, become
from others import NOBODY, environment, interpreter, needs_root

_BECOMING = """
import os, subprocess, sys, threading
from nasfeat_server.security.privileges import Account, become
done, told = threading.Event(), []
def look():
    done.wait()
    with open(f"/proc/self/task/{threading.get_native_id()}/status") as status:
        told.extend(line.split()[1:] for line in status if line.startswith(("Uid", "Gid", "CapEff")))
thread = threading.Thread(target=look)
thread.start()
become(Account.find(sys.argv[1]))
done.set()
thread.join()
print(told)
print(os.getresuid(), os.getresgid(), os.getgroups(), os.environ["HOME"])
print([line.split()[1] for line in open("/proc/self/status") if line.startswith("NoNewPrivs")])
print(len(os.listdir("/proc/self/fd")) > 0)
print(subprocess.run(["id", "-u"], capture_output=True, text=True, check=True).stdout.strip())
try:
    os.setuid(0)
except PermissionError:
    print("for good")
"""


@pytest.mark.parametrize(
    ("text", "uid", "gid", "login"),
    [
        ("nobody", NOBODY, pwd.getpwnam("nobody").pw_gid, "nobody"),
        ("nobody:root", NOBODY, 0, "nobody"),
        ("nobody:12", NOBODY, 12, "nobody"),
        ("65534", NOBODY, pwd.getpwnam("nobody").pw_gid, "nobody"),
        ("4001000:4001", 4001000, 4001, None),
    ],
)
def test_an_account_is_a_name_or_numbers(text: str, uid: int, gid: int, login: str | None) -> None:
    """Containers have users without an account."""
    account = Account.find(text)
    assert (account.uid, account.gid, account.login) == (uid, gid, login)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("nobody-of-that-name", "there is no user 'nobody-of-that-name' here; of one without an account, give UID:GID"),
        ("4001000", "give UID:GID"),
        ("nobody:no-such-group", "there is no group 'no-such-group' here"),
        ("root", "'root' is root"),
        ("0:5", "'0:5' is root"),
        ("", "there is no user ''"),
    ],
)
def test_what_is_no_account_is_named(text: str, complaint: str) -> None:
    """Root among them."""
    with pytest.raises(ConfigurationError, match=complaint):
        Account.find(text)


@needs_root
@pytest.mark.parametrize(
    ("text", "gid", "home"),
    [("nobody", pwd.getpwnam("nobody").pw_gid, pwd.getpwnam("nobody").pw_dir), (f"{NOBODY}:4001", 4001, None)],
)
def test_all_rights_are_given_up_for_good(text: str, gid: int, home: str | None) -> None:
    """In threads that run already and in programs started later; nothing brings them back, no set-uid file either."""
    command = [interpreter() or "", "-c", _BECOMING, text]
    done = subprocess.run(command, env=environment(), cwd="/", capture_output=True, text=True, check=True)
    threads, own, no_new, readable, child, final = done.stdout.splitlines()
    assert threads == str([[str(NOBODY)] * 4, [str(gid)] * 4, ["0" * 16]])
    uids, gids = (NOBODY,) * 3, (gid,) * 3
    home = home or pwd.getpwuid(NOBODY).pw_dir
    assert own == f"{uids} {gids} {[gid]} {home}"
    assert (no_new, readable, child, final) == ("['1']", "True", str(NOBODY), "for good")


def test_only_root_can_become_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others are told who started the server."""
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    with pytest.raises(ConfigurationError, match="only root can become nobody; the server was started by user 1234"):
        become(Account.find("nobody"))
