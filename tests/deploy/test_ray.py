"""What runs a Ray cluster: read by Ray's own code, for want of KubeRay and of machines."""

import copy
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner

from checkers import check, from_wheel
from nasfeat_server.cli.main import main

ROOT = Path(__file__).parents[2]
RAY = ROOT / "deploy" / "ray"
# What ray.io/v1 has had since KubeRay 1.1: `raycluster_types.go` of the operator.
FIELDS = {
    "spec": {"headGroupSpec", "workerGroupSpecs", "rayVersion", "enableInTreeAutoscaling", "autoscalerOptions"},
    "head": {"rayStartParams", "template", "serviceType", "headService", "enableIngress"},
    "worker": {"groupName", "replicas", "minReplicas", "maxReplicas", "numOfHosts", "rayStartParams", "template"},
    "autoscaler": {"resources", "image", "imagePullPolicy", "env", "idleTimeoutSeconds", "upscalingMode"},
}
READ_CLUSTER = """
import json, sys, yaml
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
print(json.dumps(_derive_autoscaling_config_from_ray_cr(json.load(sys.stdin))))
"""
READ_MACHINES = """
import json, sys
from ray.autoscaler._private.util import prepare_config, validate_config
config = prepare_config(json.load(sys.stdin))
validate_config(config)
print(json.dumps(config))
"""


def manifests() -> dict[str, Any]:
    """Give the objects for Kubernetes by their kinds."""
    return {found["kind"]: found for found in yaml.safe_load_all((RAY / "raycluster.yaml").read_text())}


def groups() -> dict[str, Any]:
    """Give the groups of workers by their names."""
    return {group["groupName"]: group for group in manifests()["RayCluster"]["spec"]["workerGroupSpecs"]}


def read(program: str, document: Any) -> Any:
    """Let Ray read a document, in a process of its own: it warns of itself."""
    command = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(command, input=json.dumps(document), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_kuberay_knows_every_field() -> None:
    """A misspelt one would be refused, or lost."""
    spec = manifests()["RayCluster"]["spec"]
    assert set(spec) <= FIELDS["spec"]
    assert set(spec["headGroupSpec"]) <= FIELDS["head"]
    assert set(spec["autoscalerOptions"]) <= FIELDS["autoscaler"]
    for group in spec["workerGroupSpecs"]:
        assert set(group) <= FIELDS["worker"]
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())


@pytest.mark.parametrize("version", ["1.27", "1.37"])
def test_kubernetes_would_take_every_object(version: str) -> None:
    """The service and the policy as they are; of the cluster, the pods that KubeRay would make of its templates."""
    found = manifests()
    spec = found["RayCluster"]["spec"]
    for name in ("Service", "NetworkPolicy"):
        kubernetes_validate.validate(found[name], version, strict=True)
    for template in (spec["headGroupSpec"]["template"], *(group["template"] for group in groups().values())):
        pod = {"apiVersion": "v1", "kind": "Pod", **copy.deepcopy(template)}
        pod["metadata"]["name"] = "nasfeat"
        kubernetes_validate.validate(pod, version, strict=True)


@pytest.mark.slow
def test_ray_s_autoscaler_adds_gpu_nodes_for_replicas_and_nothing_else() -> None:
    """Its reading of the cluster: GPUs are in one group alone, of one to four nodes; server and head have nothing."""
    config = read(READ_CLUSTER, manifests()["RayCluster"])
    types = config["available_node_types"]
    have = {name: (of["resources"].get("CPU", 0), of["resources"].get("GPU", 0)) for name, of in types.items()}
    assert have == {"headgroup": (0, 0), "server": (0, 0), "gpu": (4, 1)}
    assert (types["gpu"]["min_workers"], types["gpu"]["max_workers"]) == (1, 4)
    assert config["idle_timeout_minutes"] == 1


def test_the_server_is_told_what_it_knows(tmp_path: Path) -> None:
    """The variables and the command of its container make a good configuration, for as many replicas as nodes."""
    (container,) = groups()["server"]["template"]["spec"]["containers"]
    variables = {each["name"]: each["value"] for each in container["env"]}
    anywhere = ("--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--cache", str(tmp_path), "--allow-root")
    (script,) = container["args"]
    joining, _, serving = script.partition(" && exec nasfeat-server serve ")
    result = CliRunner().invoke(main, ["check-config", *serving.split(), *anywhere], env=variables)
    assert (result.exit_code, result.output) == (0, "The configuration is good.\n")
    assert int(variables["NASFEAT_SERVER_REPLICAS"]) == groups()["gpu"]["maxReplicas"]
    assert int(variables["NASFEAT_SERVER_KEEP_REPLICAS"]) == groups()["gpu"]["minReplicas"]
    # What KubeRay gives in the variable waits for ever; without that word the shell goes on.
    bash = ["bash", "-c", f"echo {joining}"]
    shown = check(
        *bash, environment={"KUBERAY_GEN_RAY_START_CMD": "ray start --address=head:6379 --block --num-cpus=0"}
    )
    assert shown.split() == ["ray", "start", "--address=head:6379", "--num-cpus=0"]


def test_the_service_finds_the_server_s_ports() -> None:
    """By the labels that KubeRay gives to the pods of a group."""
    service, (container,) = manifests()["Service"], groups()["server"]["template"]["spec"]["containers"]
    assert service["spec"]["selector"] == {"ray.io/cluster": "nasfeat", "ray.io/group": "server"}
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert {port["targetPort"]: port["port"] for port in service["spec"]["ports"]} == ports


@pytest.mark.slow
def test_ray_up_would_take_the_machines() -> None:
    """By Ray's own schema, after its defaults are filled in."""
    config = read(READ_MACHINES, yaml.safe_load((RAY / "cluster.yaml").read_text()))
    assert config["provider"]["type"] == "local"
    assert config["max_workers"] == len(config["provider"]["worker_ips"])


def test_all_name_the_same_ray() -> None:
    """Image, cluster and machines; and one that pyproject.toml allows."""
    texts = (RAY / name for name in ("Dockerfile", "cluster.yaml", "raycluster.yaml"))
    pattern = r"(?:ARG RAY=|ray\[default\]==|rayVersion: )([\d.]+)"
    versions = [re.findall(pattern, text.read_text()) for text in texts]
    assert all(versions)
    (named,) = {each for found in versions for each in found}
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (needed,) = [each for each in extras["ray"] if each.startswith("ray")]
    assert tuple(map(int, named.split("."))) >= tuple(map(int, needed.partition(">=")[2].split(".")))


def test_hadolint_has_no_complaints() -> None:
    """Nor has the shellcheck in it; but the version of wget is Debian's to say."""
    assert check(from_wheel("hadolint"), "--failure-threshold", "style", "--ignore", "DL3008", RAY / "Dockerfile") == ""
