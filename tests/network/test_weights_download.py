"""Downloads resume, are verified, land whole or not at all, and say what went wrong."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from nasfeat_server.errors import WeightsError
from nasfeat_server.network.weights.download import fetch, place_of
from nasfeat_server.network.weights.reach import unreachable
from webserver import Site, serving

MIB = 2**20
CONTENT = np.random.default_rng(0).bytes(5 * MIB)
MD5 = f"md5:{hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()}"


@pytest.fixture
def site() -> Iterator[Site]:
    """A server with one file of 5 MiB."""
    with serving({"/weights.h5": CONTENT}) as site:
        yield site


@pytest.fixture
def lines() -> list[str]:
    """What was reported."""
    return []


def get(site: Site, cache: Path, lines: list[str], digest: str | None = None) -> bytes:
    """Fetch the file and read it."""
    return fetch(f"{site.url}/weights.h5", cache, digest=digest, report=lines.append).read_bytes()


def kept(cache: Path) -> list[str]:
    """What is left in the cache, locks apart, by its ending."""
    return sorted(path.name.partition("-")[2] for path in (cache / "downloads").iterdir() if path.suffix != ".lock")


def test_a_file_is_downloaded_once_and_its_progress_told(site: Site, tmp_path: Path, lines: list[str]) -> None:
    """The first call downloads and tells how far it is; the next finds the file, also without the server."""
    assert get(site, tmp_path, lines, MD5) == CONTENT
    assert lines[0] == f"downloading {site.url}/weights.h5 (5.0 MiB)"
    shares = [int(re.fullmatch(r"downloading weights\.h5: (\d+) % of 5\.0 MiB", line)[1]) for line in lines[1:]]  # type: ignore[index]
    assert [share // 20 for share in shares] == [1, 2, 3, 4, 5]
    assert get(site, tmp_path, lines, MD5) == get(site, tmp_path, lines) == CONTENT
    assert site.requests == [("/weights.h5", None)]
    assert kept(tmp_path) == ["weights.h5"]


def test_large_files_are_told_of_in_twenty_lines(site: Site, tmp_path: Path, lines: list[str]) -> None:
    """However large a file is, the log stays short; also if its size is unknown."""
    site.files["/weights.h5"] = bytes(64 * MIB)
    get(site, tmp_path / "known", lines)
    assert 15 < len(lines) <= 21
    lines.clear()
    site.announced = False
    get(site, tmp_path / "unknown", lines)
    assert [line.rpartition(": ")[2] for line in lines[1:]] == ["8 MiB", "16 MiB", "32 MiB", "64 MiB"]


def test_a_cut_download_goes_on(site: Site, tmp_path: Path, lines: list[str]) -> None:
    """What breaks off is asked for again from where it ended, and only that."""
    site.limits = [2 * MIB, MIB]
    assert get(site, tmp_path, lines, MD5) == CONTENT
    assert site.requests == [("/weights.h5", part) for part in (None, "bytes=2097152-", "bytes=3145728-")]
    assert f"downloading {site.url}/weights.h5 (5.0 MiB, going on at 3.0 MiB)" in lines


def test_a_download_goes_on_in_the_next_process(site: Site, tmp_path: Path, lines: list[str]) -> None:
    """A server that sends no more is given up; what came is kept, and the next start goes on from there."""
    site.limits = [3 * MIB, 0]
    with pytest.raises(WeightsError, match=r"broke off after 3\.0 MiB: 5\.0 MiB were announced; started again"):
        get(site, tmp_path, lines)
    assert kept(tmp_path) == ["weights.h5.partial", "weights.h5.partial.json"]
    assert get(site, tmp_path, lines) == CONTENT
    assert site.requests[-1] == ("/weights.h5", "bytes=3145728-")


@pytest.mark.parametrize("change", ["no ranges", "another file", "no tag", "weak tag", "smaller file"])
def test_what_cannot_go_on_starts_over(site: Site, tmp_path: Path, lines: list[str], change: str) -> None:
    """A file is never put together of two: if the server cannot resume or has another file, all of it comes again."""
    site.limits = [3 * MIB, 0]
    if change == "no tag":
        site.tag = ""
    if change == "weak tag":
        site.tag = 'W/"1"'
    with pytest.raises(WeightsError, match="broke off"):
        get(site, tmp_path, lines)
    if change == "no ranges":
        site.ranges = False
    if change == "another file":
        site.tag, site.files["/weights.h5"] = '"2"', CONTENT[::-1]
    if change == "smaller file":
        site.files["/weights.h5"] = CONTENT[:MIB]
    assert get(site, tmp_path, lines) == site.files["/weights.h5"]
    assert kept(tmp_path) == ["weights.h5"]


def test_another_digest(site: Site, tmp_path: Path, lines: list[str]) -> None:
    """A file that is not the published one is refused and does not stay."""
    with pytest.raises(WeightsError, match=r"sent another file than was published: MD5 hash .* does not match"):
        get(site, tmp_path, lines, "md5:" + "0" * 32)
    assert kept(tmp_path) == []


def test_a_damaged_file_in_the_cache_is_fetched_again(site: Site, tmp_path: Path, lines: list[str]) -> None:
    """Where the digest is known, the cache is not trusted either."""
    place = place_of(f"{site.url}/weights.h5", tmp_path)
    place.parent.mkdir()
    place.write_bytes(b"something else")
    assert get(site, tmp_path, lines, MD5) == CONTENT


def test_no_such_file(site: Site, tmp_path: Path) -> None:
    """The server's answer is in the error."""
    with pytest.raises(WeightsError, match=r"cannot download .*/none: the server answers 404 Not Found"):
        fetch(f"{site.url}/none", tmp_path, report=print)
    assert [request[0] for request in site.requests] == ["/none"]


def test_nobody_there(tmp_path: Path) -> None:
    """A host that refuses is named, and nothing else is tried."""
    with pytest.raises(WeightsError, match=r"127\.0\.0\.1 cannot be reached: .*refused"):
        fetch("http://127.0.0.1:1/weights.h5", tmp_path, report=print)


def test_a_full_disk(site: Site, tmp_path: Path, lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is said with its numbers before the download, or by the system while it lasts."""
    partial = place_of(f"{site.url}/weights.h5", tmp_path)
    partial = partial.with_name(f"{partial.name}.partial")
    partial.parent.mkdir()
    partial.symlink_to("/dev/full")
    partial.with_name(f"{partial.name}.json").write_text(json.dumps('"0"'))
    with pytest.raises(WeightsError, match=r"cannot store .*No space left on device"):
        get(site, tmp_path, lines)
    monkeypatch.setattr("shutil.disk_usage", lambda _path: SimpleNamespace(free=MIB))
    with pytest.raises(WeightsError, match=r"not enough space in .*: 5\.0 MiB needed, 1\.0 MiB free"):
        get(site, tmp_path / "other", lines)


def test_a_cache_that_cannot_be_written(site: Site, tmp_path: Path, lines: list[str]) -> None:
    """A file where the cache should be is named."""
    (tmp_path / "downloads").write_text("in the way")
    with pytest.raises(WeightsError, match=r"the cache .*downloads cannot be used"):
        get(site, tmp_path, lines)


def test_several_download_once(site: Site, tmp_path: Path) -> None:
    """Of several that want the same file one downloads; the others say that they wait, and get the file."""
    site.gate.clear()
    waiting = threading.Semaphore(0)
    results: list[bytes] = []

    def report(line: str) -> None:
        if line.startswith("waits for another process that downloads"):
            waiting.release()

    def want() -> None:
        results.append(fetch(f"{site.url}/weights.h5", tmp_path, report=report).read_bytes())

    threads = [threading.Thread(target=want) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(2):
        assert waiting.acquire(timeout=60)
    site.gate.set()
    for thread in threads:
        thread.join()
    assert results == [CONTENT] * 3
    assert len(site.requests) == 1


def test_hosts_are_probed_together(site: Site) -> None:
    """Each host is asked once, whatever the number of URLs; those that answer are not in the result."""
    dead = ["http://127.0.0.1:1/a", "http://127.0.0.1:1/b"]
    assert set(unreachable([*dead, f"{site.url}/weights.h5"])) == set(dead)


def test_a_host_that_swallows_packets_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """No host is waited for longer than the timeout, though the system might wait for minutes."""
    stuck = threading.Event()

    def connect(*_: object) -> None:
        stuck.wait()
        raise TimeoutError

    monkeypatch.setattr("socket.create_connection", connect)
    try:
        reasons = unreachable(["http://swallowed.example/a"], timeout_s=0.01)
    finally:
        stuck.set()
    assert reasons == {"http://swallowed.example/a": "swallowed.example cannot be reached: no answer within 0.01 s"}


def test_a_proxy_is_probed_in_the_hosts_place(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a proxy, hosts cannot be reached directly and need not be."""
    monkeypatch.setenv("http_proxy", site.url)
    assert unreachable(["http://nowhere.invalid/a"]) == {}
    monkeypatch.setenv("http_proxy", "127.0.0.1:1")
    assert "127.0.0.1 cannot be reached" in unreachable(["http://nowhere.invalid/a"])["http://nowhere.invalid/a"]
