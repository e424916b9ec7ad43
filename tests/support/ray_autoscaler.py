"""A Ray cluster of this machine whose nodes Ray's own autoscaler brings and takes, as a program.

It starts with a head that has room for nothing. In the place of a cloud is the provider that Ray has for its own tests:
its nodes are processes. The program writes the address, and ends with its input.

Ray's `AutoscalingCluster` does not serve: it needs a file that Ray's wheels have not, and ends every Ray process of the
machine before it begins.
"""

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil

from ray_cluster import free_port
from ray_nodes import SOON, STORE_BYTES, Nodes, running_cluster

# Seconds without work after which a node is taken away.
_IDLE_S = 2
_PROVIDER = "ray.autoscaler._private.fake_multi_node.node_provider"


def main() -> None:
    """Run a head without CPUs, and an autoscaler that may add as many nodes of one CPU as the first argument says."""
    from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID, FAKE_HEAD_NODE_TYPE
    from ray.cluster_utils import Cluster

    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "autoscaler.json"
        provider = {"head_node_id": FAKE_HEAD_NODE_ID, "gcs_address": f"127.0.0.1:{port}"}
        config.write_text(json.dumps(_config(int(sys.argv[1]), provider, FAKE_HEAD_NODE_TYPE)))
        head: dict[str, Any] = {
            "num_cpus": 0,
            "include_dashboard": False,
            "object_store_memory": 2 * STORE_BYTES,
            "gcs_server_port": port,
            "autoscaling_config": str(config),
            "env_vars": {
                "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID,
                "RAY_NODE_TYPE_NAME": FAKE_HEAD_NODE_TYPE,
                "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID,
            },
            "_system_config": SOON,
        }
        os.environ |= {
            "AUTOSCALER_UPDATE_INTERVAL_S": "1",
            # The one that `ray up` has by default.
            "RAY_enable_autoscaler_v2": "1",
            "RAY_FAKE_CLUSTER": "1",
        }
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            print(cluster.address, flush=True)
            sys.stdin.read()
        finally:
            # The nodes are the autoscaler's, which ends before them.
            family = psutil.Process().children(recursive=True)
            cluster.shutdown()
            _, alive = psutil.wait_procs(family, timeout=3)
            for left in alive:
                with contextlib.suppress(psutil.Error):
                    left.kill()


def _config(most: int, provider: dict[str, str], head: str) -> dict[str, Any]:
    return {
        "cluster_name": "nasfeat",
        "max_workers": most,
        "provider": {
            "type": "external",
            "module": f"{_PROVIDER}.FakeMultiNodeProvider",
            **provider,
            "launch_multiple": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
        },
        "head_node_type": head,
        "available_node_types": {
            head: {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "node": {
                "resources": {"CPU": 1, "object_store_memory": STORE_BYTES},
                "node_config": {},
                "min_workers": 0,
                "max_workers": most,
            },
        },
        "idle_timeout_minutes": _IDLE_S / 60,
        # What has to be said, and is nothing to this provider.
        "cluster_synced_files": [],
        **{f"{of}setup_commands": [] for of in ("", "head_", "worker_")},
    }


@contextlib.asynccontextmanager
async def autoscaled_nodes(most: int) -> AsyncIterator[Nodes]:
    """Run a cluster of a head and up to `most` nodes until the context ends."""
    async with running_cluster(__file__, most) as nodes:
        yield nodes


if __name__ == "__main__":
    main()
