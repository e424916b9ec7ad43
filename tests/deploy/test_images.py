"""The image and what runs it on one machine: read by hadolint and by Docker Compose, for want of an engine."""

import json
import re
import shutil
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from checkers import check, from_wheel, installed
from nasfeat_server.cli.main import main
from nasfeat_server.config import ServerConfig

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
COMPOSE = from_wheel("docker-compose")
VARIANTS = {"cpu": ("compose.yaml",), "gpu": ("compose.yaml", "compose.gpu.yaml")}


def composed(variant: str) -> Any:
    """Let Docker Compose read its files; give what it understood."""
    files = [part for name in VARIANTS[variant] for part in ("--file", str(DEPLOY / name))]
    environment = {"GRAFANA_PASSWORD": "of nobody", "HOME": "/nowhere"}
    return json.loads(check(COMPOSE, *files, "config", "--format", "json", environment=environment))


@pytest.fixture(scope="module", params=list(VARIANTS))
def services(request: pytest.FixtureRequest) -> Any:
    """The services by their names, with and without GPUs."""
    return composed(request.param)["services"]


def test_hadolint_has_no_complaints() -> None:
    """Nor has the shellcheck in it, of the commands."""
    assert check(from_wheel("hadolint"), "--failure-threshold", "style", DEPLOY / "Dockerfile") == ""


def test_the_image_is_started_stopped_and_asked_as_the_server_wants_it() -> None:
    """By a user who is not root, with SIGTERM, by the health command; all that is written lies in one volume."""
    for line in (
        "USER 10001:10001",
        "STOPSIGNAL SIGTERM",
        "VOLUME /var/cache/nasfeat",
        'ENTRYPOINT ["nasfeat-server"]',
    ):
        assert line in DOCKERFILE.splitlines()
    assert re.search(r'^HEALTHCHECK .* CMD \["nasfeat-server", "health"\]$', DOCKERFILE, re.MULTILINE)
    # The last stage is what is built if none is named.
    assert re.findall(r"^FROM \S+ AS (\S+)", DOCKERFILE, re.MULTILINE)[-2:] == ["cuda", "cpu"]


def test_image_and_chart_are_of_the_project_s_version() -> None:
    """A release changes it in one more place than it thought, or is told here."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"ARG VERSION={version}" in DOCKERFILE.splitlines()
    assert yaml.safe_load((DEPLOY / "helm" / "nasfeat" / "Chart.yaml").read_text())["appVersion"] == version


def test_what_the_image_tells_the_server_is_good(tmp_path: Path) -> None:
    """Its file of settings is one, but for the folder that only the image has."""
    options = ("--config", str(DEPLOY / "docker" / "nasfeat.toml"), "--cache", str(tmp_path), "--allow-root")
    anywhere = ("--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0")
    result = CliRunner().invoke(main, ["check-config", *options, *anywhere])
    assert (result.exit_code, result.output) == (0, "The configuration is good.\n")


@pytest.mark.slow
def test_what_the_build_is_given_makes_the_wheel(tmp_path: Path) -> None:
    """The first stage, by hand: .dockerignore lets through all that is copied, and that is all that is built."""
    context, source = tmp_path / "context", tmp_path / "source"
    for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines():
        if line.startswith("!"):
            _copy(ROOT / line[1:], context / line[1:])
    source.mkdir()
    for sources, place in re.findall(r"^COPY (?!--from)(.+) (\S+)$", DOCKERFILE, re.MULTILINE):
        for name in sources.split():
            if not place.startswith("/"):
                _copy(context / name, source / (name if place == "./" else place))
            assert (context / name).exists()
    check(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", tmp_path / "wheels", source)
    (wheel,) = (tmp_path / "wheels").glob("nasfeat-*.whl")
    assert {"nasfeat_server/cli/health.py", "nasfeat_client/py.typed"} <= set(zipfile.ZipFile(wheel).namelist())


def _copy(source: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, place, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, place)


def test_every_service_is_as_small_a_target_as_it_can_be(services: Any) -> None:
    """A read-only file system, no capabilities, no way to more rights, a limit of memory, and a log that ends."""
    assert set(services) == {"nasfeat", "prometheus", "grafana"}
    for service in services.values():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
        assert int(service["deploy"]["resources"]["limits"]["memory"]) > 0
        assert service["logging"]["options"]["max-size"]


def test_nothing_is_published_beyond_this_machine(services: Any) -> None:
    """Until the operator says so."""
    for service in services.values():
        assert [port["host_ip"] for port in service["ports"]] == ["127.0.0.1"]


def test_what_is_mounted_exists(services: Any) -> None:
    """Docker would make a folder of a file that is missing."""
    mounted = [
        Path(volume["source"])
        for service in services.values()
        for volume in service.get("volumes", ())
        if volume["type"] == "bind"
    ]
    assert len(mounted) == 4
    assert all(path.exists() for path in mounted)


def test_the_server_may_finish_what_it_has(services: Any) -> None:
    """It is given more time than its own grace before it is killed."""
    assert services["nasfeat"]["stop_grace_period"] == "40s"
    assert ServerConfig().grace_s < 40


def test_the_gpus_are_a_matter_of_one_more_file() -> None:
    """The same service, of the other image, with every GPU."""
    cpu, gpu = (composed(variant)["services"]["nasfeat"] for variant in VARIANTS)
    assert (cpu["build"]["target"], gpu["build"]["target"]) == ("cpu", "cuda")
    (devices,) = gpu["deploy"]["resources"]["reservations"]["devices"]
    assert devices == {"capabilities": ["gpu"], "driver": "nvidia", "count": -1}
    assert "reservations" not in cpu["deploy"]["resources"]


def test_grafana_has_no_password_that_everybody_knows() -> None:
    """Without one of the operator's nothing starts."""
    with pytest.raises(AssertionError, match="GRAFANA_PASSWORD"):
        check(COMPOSE, "--file", DEPLOY / "compose.yaml", "config", environment={"HOME": "/nowhere"})


def test_prometheus_is_configured_as_beside_the_server_but_for_its_place(tmp_path: Path) -> None:
    """The two configurations differ in the target alone; promtool takes this one, where compose mounts it."""
    beside, composed_ = (
        yaml.safe_load((DEPLOY / folder / "prometheus.yml").read_text()) for folder in ("prometheus", "compose")
    )
    (target,) = composed_["scrape_configs"][0]["static_configs"][0].pop("targets")
    assert target == "nasfeat:9464"
    del beside["scrape_configs"][0]["static_configs"][0]["targets"]
    assert composed_ == beside
    _copy(DEPLOY / "compose" / "prometheus.yml", tmp_path / "prometheus.yml")
    _copy(DEPLOY / "prometheus" / "rules", tmp_path / "rules")
    assert "2 rule files found" in check(installed("promtool"), "check", "config", tmp_path / "prometheus.yml")


def test_grafana_finds_its_data_and_its_dashboard(services: Any) -> None:
    """The source of data is the Prometheus beside it, and the dashboard lies where Grafana is told to look."""
    provisioning = DEPLOY / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "nasfeat.yaml").read_text())["providers"]
    mounted = {volume["target"]: volume["source"] for volume in services["grafana"]["volumes"]}
    assert mounted[f"{provider['options']['path']}/nasfeat.json"] == str(DEPLOY / "grafana" / "nasfeat.json")
