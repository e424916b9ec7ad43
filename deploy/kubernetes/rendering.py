"""The chart rendered by Helm's own library."""

import re
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import helm_python
import yaml

# Go's runtime, which is there once the library has answered, takes this signal, which Python ignores. With TensorFlow
# and others in the process, a write to a process that had died then ended this one, without a word.
helm_python.helm_c_version()
signal.signal(signal.SIGPIPE, signal.SIG_IGN)

CHART = Path(__file__).parents[1] / "helm" / "nasfeat"
NAMESPACE = "nasfeat"

# What only Helm needs, to know its own.
_HELMS = re.compile(r"^ +(app\.kubernetes\.io/managed-by|helm\.sh/chart): .*\n", re.MULTILINE)


def examples() -> dict[str, dict[str, Any]]:
    """Give the values of each example, by its name."""
    files = sorted((CHART / "ci").glob("*-values.yaml"))
    return {path.name.removesuffix("-values.yaml"): yaml.safe_load(path.read_text()) for path in files}


def render(values: Mapping[str, Any]) -> dict[str, str]:
    """Render the chart as the release "nasfeat" in the namespace of that name.

    Returns:
        The text of each template that renders to something, by its path below the chart.

    Raises:
        helm_python.HelmError: the values are refused.
    """
    with helm_python.Chart.load(CHART) as chart:
        chart.validate_schema(dict(values))
        rendered = chart.render(dict(values), name="nasfeat", namespace=NAMESPACE)
    return {path: text for path, text in sorted(rendered.items()) if text.strip()}


def as_manifests(name: str, values: Mapping[str, Any]) -> str:
    """Render the chart for `kubectl apply`.

    Args:
        name: the example's name.
        values: its values.

    Returns:
        All objects as one stream of YAML.
    """
    head = (
        f"# Made of deploy/helm/nasfeat with ci/{name}-values.yaml by `python -m deploy.kubernetes`: change those.\n"
        f"# First `kubectl create namespace {NAMESPACE}`, and your own image in the place of registry.example.com's.\n"
    )
    texts = [text.strip() for path, text in render(values).items() if path.endswith(".yaml")]
    return _HELMS.sub("", head + "---\n" + "\n---\n".join(texts) + "\n")
