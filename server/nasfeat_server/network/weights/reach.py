"""Whether hosts can be reached, asked before any download: a network that swallows packets must not hold the start."""

import queue
import socket
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterable

TIMEOUT_S = 10.0
_PORTS = {"http": 80, "https": 443}


def unreachable(urls: Iterable[str], timeout_s: float = TIMEOUT_S) -> dict[str, str]:
    """Connect to the hosts of http(s) `urls`, to all at once, or to the proxies that the environment names.

    Returns:
        The reason by URL, for each one whose host does not answer within `timeout_s`.
    """
    hosts = {url: _host(url) for url in urls}
    waiting = dict.fromkeys(hosts.values(), f"no answer within {timeout_s:g} s")
    answers: queue.SimpleQueue[tuple[tuple[str, int], str]] = queue.SimpleQueue()
    for host in waiting:
        # Not a pool, which Python would wait for at its end: looking up a name knows no timeout.
        threading.Thread(target=_connect, args=(host, timeout_s, answers), daemon=True).start()
    deadline = time.monotonic() + timeout_s
    failed = {}
    while waiting and (left := deadline - time.monotonic()) > 0:
        try:
            host, reason = answers.get(timeout=left)
        except queue.Empty:
            break
        del waiting[host]
        if reason:
            failed[host] = reason
    failed |= waiting
    return {url: f"{host[0]} cannot be reached: {failed[host]}" for url, host in hosts.items() if host in failed}


def _connect(host: tuple[str, int], timeout_s: float, answers: queue.SimpleQueue[tuple[tuple[str, int], str]]) -> None:
    try:
        socket.create_connection(host, timeout_s).close()
    except OSError as error:
        answers.put((host, str(error)))
    else:
        answers.put((host, ""))


def _host(url: str) -> tuple[str, int]:
    parts = urllib.parse.urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.netloc):
        parts = urllib.parse.urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    return parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 80)
