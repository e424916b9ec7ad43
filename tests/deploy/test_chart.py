"""The chart, rendered by Helm itself: its objects are valid, belong together, and tell the server what it knows."""

import asyncio
import copy
import itertools
import json
import re
import signal
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner
from deploy.kubernetes.rendering import CHART, as_manifests, examples, render

from checkers import from_wheel
from credentials import SERVER_NAME, Authority, write_tokens
from nasfeat_server.cli.main import main
from nasfeat_server.cli.serve import serve
from nasfeat_server.security.tokens import new_token
from programs import FAKE, server

ROOT = Path(__file__).parents[2]
EXAMPLES = examples()
# Between them they render every line of the chart.
CASES: dict[str, dict[str, Any]] = EXAMPLES | {
    "everything": {
        "image": {
            "digest": f"sha256:{'0' * 64}",
            "repository": "registry.example.com/nasfeat",
            "pullSecrets": [{"name": "a"}],
        },
        "monitoring": {"dashboard": True, "serviceMonitor": True, "rules": True, "labels": {"release": "prometheus"}},
        "cache": {"size": "5Gi", "storageClassName": "fast"},
        "service": {"annotations": {"a": "b"}, "type": "LoadBalancer"},
        "serviceAccount": {"annotations": {"a": "b"}},
        "affinity": {"podAntiAffinity": {}},
        "nodeSelector": {"a": "b"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "podAnnotations": {"a": "b"},
        "podLabels": {"a": "b"},
        "priorityClassName": "high",
        "runtimeClassName": "nvidia",
    },
    "bare": {
        "cache": {"size": ""},
        "podDisruptionBudget": {"enabled": False},
        "networkPolicy": {"enabled": False},
        "topologySpreadConstraints": [],
    },
}
KUBERNETES = ("1.27", "1.37")


def objects(values: dict[str, Any]) -> list[dict[str, Any]]:
    """Render the chart; give its objects."""
    texts = (text for path, text in render(values).items() if path.endswith(".yaml"))
    return [found for text in texts for found in yaml.safe_load_all(text) if found]


def one(values: dict[str, Any], kind: str) -> dict[str, Any]:
    """Give the object of a kind that is called as the release is."""
    (found,) = [each for each in objects(values) if (each["kind"], each["metadata"]["name"]) == (kind, "nasfeat")]
    return found


def pod(values: dict[str, Any]) -> Any:
    """Give what the servers' pods are made of."""
    return one(values, "StatefulSet")["spec"]["template"]["spec"]


def settings(values: dict[str, Any]) -> str:
    """Give the servers' file of settings."""
    text: str = one(values, "ConfigMap")["data"]["nasfeat.toml"]
    return text


def probes(values: dict[str, Any]) -> Iterator[Any]:
    """Give the three probes."""
    (container,) = pod(values)["containers"]
    return (container[f"{name}Probe"] for name in ("startup", "readiness", "liveness"))


@pytest.mark.parametrize("name", CASES)
def test_helm_has_no_complaints(name: str) -> None:
    """Neither errors nor warnings; an icon is all that it misses."""
    report = helm_python.lint(CHART, CASES[name], strict=True)
    assert report["errors"] == []
    assert [found["error"] for found in report["messages"]] == ["icon is recommended"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_plain_manifests_are_current(name: str) -> None:
    """`python -m deploy.kubernetes` would write what is committed."""
    committed = (ROOT / "deploy" / "kubernetes" / f"{name}.yaml").read_text()
    assert committed == as_manifests(name, EXAMPLES[name]), (
        "run `python -m deploy.kubernetes` and commit what it writes"
    )


@pytest.mark.parametrize(("name", "version"), list(itertools.product(CASES, KUBERNETES)))
def test_kubernetes_would_take_every_object(name: str, version: str) -> None:
    """By the schemas of the oldest version that the chart is for and of the newest that there are."""
    for found in objects(CASES[name]):
        if found["apiVersion"] != "monitoring.coreos.com/v1":
            kubernetes_validate.validate(found, version, strict=True)


@pytest.mark.slow
def test_prometheus_operator_would_take_its_objects() -> None:
    """By its own schemas, which leave nothing out of them."""
    from cloudcoil.models.prometheus_operator import v1 as operator_models

    found = {each["kind"]: each for each in objects(CASES["everything"])}
    for kind, model in (
        ("ServiceMonitor", operator_models.ServiceMonitor),
        ("PrometheusRule", operator_models.PrometheusRule),
    ):
        read = model.model_validate(copy.deepcopy(found[kind]))
        assert read.model_dump(mode="json", by_alias=True, exclude_unset=True)["spec"] == found[kind]["spec"]


@pytest.mark.parametrize("name", CASES)
def test_the_server_understands_its_settings(name: str, tmp_path: Path) -> None:
    """Every section, key and value is one of the server's."""
    path = tmp_path / "nasfeat.toml"
    path.write_text(settings(CASES[name]))
    result = CliRunner().invoke(main, ["config", "--config", str(path)])
    assert result.exit_code == 0, result.output
    assert 'listen = "0.0.0.0:50051" # from' in result.output


def test_the_schema_knows_every_section() -> None:
    """The sections of settings that values may have are the server's."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    sections = {each.section for each in serve.settings()}
    assert set(schema["properties"]["config"]["properties"]) == sections


def test_gpus_are_asked_for_and_used() -> None:
    """As many as the container is given there are replicas; and the image is the one with CUDA."""
    values = EXAMPLES["gpu"]
    (container,) = pod(values)["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 2
    assert tomllib.loads(settings(values))["engine"]["devices"] == ["gpu:0", "gpu:1"]
    assert container["image"].endswith("-cuda")
    assert pod(EXAMPLES["cpu"])["containers"][0]["image"].endswith("-cpu")


@pytest.mark.parametrize("name", CASES)
def test_the_pods_may_do_nothing(name: str) -> None:
    """What the Pod Security Standards call restricted, a read-only file system, and no token of the cluster's."""
    spec = pod(CASES[name])
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not spec["automountServiceAccountToken"]
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


@pytest.mark.parametrize("name", CASES)
def test_what_is_mounted_is_there_and_the_other_way_round(name: str) -> None:
    """Every volume is mounted, and every mount has its volume."""
    (container,) = pod(CASES[name])["containers"]
    claims = one(CASES[name], "StatefulSet")["spec"].get("volumeClaimTemplates", [])
    there = [volume["name"] for volume in pod(CASES[name])["volumes"]] + [claim["metadata"]["name"] for claim in claims]
    assert sorted(there) == sorted(mount["name"] for mount in container["volumeMounts"])


@pytest.mark.parametrize(("grace", "expected"), [(30, 40), (0, 10), (99.5, 110)])
def test_a_pod_is_given_more_time_than_the_server_takes(grace: float, expected: int) -> None:
    """Ten seconds over the grace."""
    assert pod({"config": {"serving": {"grace": grace}}})["terminationGracePeriodSeconds"] == expected


def test_the_kubelet_asks_by_grpc() -> None:
    """Readiness is the server's as a whole; the others are its liveness, and the first start has its time."""
    startup, readiness, liveness = probes({"probes": {"startup_s": 600}})
    assert startup["grpc"] == liveness["grpc"] == {"port": 50051, "service": "liveness"}
    assert readiness["grpc"] == {"port": 50051}
    assert startup["periodSeconds"] * startup["failureThreshold"] == 600


@pytest.mark.slow
async def test_probes_of_a_secured_server_pass(tmp_path: Path) -> None:
    """A real server with the rendered settings, and its Secrets in other folders, is found well by every probe."""
    values = copy.deepcopy(EXAMPLES["secured"])
    values["tls"]["serverName"] = SERVER_NAME
    for name in ("tls", "clients", "probe", "tokens"):
        (tmp_path / name).mkdir()
    authority = Authority(tmp_path)
    authority.certificate.rename(tmp_path / "tls" / "tls.crt")
    authority.key.rename(tmp_path / "tls" / "tls.key")
    authority.clients.rename(tmp_path / "clients" / "ca.crt")
    own = authority.ca.issue_cert("probe@nasfeat.test")
    (tmp_path / "probe" / "tls.crt").write_bytes(own.cert_chain_pems[0].bytes())
    (tmp_path / "probe" / "tls.key").write_bytes(own.private_key_pem.bytes())
    write_tokens(tmp_path / "tokens" / "tokens.toml", {"cameras": ((new_token(),), {})})
    (tmp_path / "nasfeat.toml").write_text(settings(values).replace("/etc/nasfeat", str(tmp_path)))
    own_places = ("--cache", str(tmp_path / "cache"), "--control", str(tmp_path / "control"))
    async with server("serve", "--config", str(tmp_path / "nasfeat.toml"), *FAKE, *own_places) as running:
        for probe in probes(values):
            program, *arguments = probe["exec"]["command"]
            told = [argument.replace("/etc/nasfeat", str(tmp_path)) for argument in arguments]
            command = [from_wheel(program), *told, "--target", running.listening]
            done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
            assert (done.returncode, done.stdout) == (0, "SERVING\n"), done.stderr


def test_ports_are_called_alike_everywhere() -> None:
    """What services, policies and monitors call by name are ports of the container."""
    values = CASES["everything"]
    (container,) = pod(values)["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    services = [each for each in objects(values) if each["kind"] == "Service"]
    assert {port["targetPort"] for service in services for port in service["spec"]["ports"]} == set(ports)
    assert all(ports[port["targetPort"]] == port["port"] for service in services for port in service["spec"]["ports"])
    rules = one(values, "NetworkPolicy")["spec"]["ingress"]
    assert {port["port"] for rule in rules for port in rule["ports"]} == set(ports)
    (endpoint,) = one(values, "ServiceMonitor")["spec"]["endpoints"]
    (watched,) = [service for service in services if service["metadata"]["name"].endswith("-metrics")]
    assert endpoint["port"] in {port["name"] for port in watched["spec"]["ports"]}
    labels = watched["metadata"]["labels"]
    assert one(values, "ServiceMonitor")["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_servers_without_way_out_have_none() -> None:
    """An empty list is no rule, and with the type Egress nothing leaves."""
    policy = one(EXAMPLES["secured"], "NetworkPolicy")["spec"]
    assert "Egress" in policy["policyTypes"]
    assert policy["egress"] == []
    assert policy["ingress"][0]["from"] == EXAMPLES["secured"]["networkPolicy"]["clients"]


def test_rules_and_dashboard_are_the_committed_ones() -> None:
    """But for where the runbooks are read."""
    base, runbooks = "https://example.com/nasfeat/docs/runbooks", "https://wiki.example.com/runbooks"
    values = {"monitoring": {"rules": True, "dashboard": True, "runbooks": runbooks}}
    files = ("recording", "alerts")
    texts = [(ROOT / "deploy" / "prometheus" / "rules" / f"{name}.yml").read_text() for name in files]
    groups = [group for text in texts for group in yaml.safe_load(text.replace(base, runbooks))["groups"]]
    assert one(values, "PrometheusRule")["spec"]["groups"] == groups
    (dashboard,) = [each for each in objects(values) if each["metadata"]["name"].endswith("-dashboard")]
    committed = (ROOT / "deploy" / "grafana" / "nasfeat.json").read_text()
    assert json.loads(dashboard["data"]["nasfeat.json"]) == json.loads(committed.replace(base, runbooks))


def test_the_notes_name_every_server() -> None:
    """As the SDK takes them."""
    notes = render({"replicas": 3})["nasfeat/templates/NOTES.txt"]
    hosts = [f"nasfeat-{number}.nasfeat-headless.nasfeat.svc:50051" for number in range(3)]
    assert json.loads(re.findall(r"FeatureClient\((.*)\)", notes)[0]) == hosts


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"replica": 3}, "additional properties 'replica' not allowed"),
        ({"gpus": -1}, "minimum"),
        ({"config": {"serving": {"listen": {"port": 1}}}}, "/config/serving/listen"),
        ({"tls": {"secretName": "a"}}, "tls.serverName is needed"),
        ({"tls": {"secretName": "a", "serverName": "b", "clientCaSecretName": "c"}}, "tls.probeSecretName is needed"),
    ],
)
def test_wrong_values_are_refused(values: dict[str, Any], complaint: str) -> None:
    """By the schema, or by what needs them; the message names the value."""
    with pytest.raises(helm_python.HelmError, match=re.escape(complaint)):
        render(values)


def test_this_process_ignores_broken_pipes() -> None:
    """Helm's library takes the signal: whichever test then writes to a dead process ends all tests of its worker."""
    render(EXAMPLES["cpu"])
    (ignored,) = re.findall(r"^SigIgn:\s*(\w+)$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert int(ignored, 16) & 1 << (signal.SIGPIPE - 1)
