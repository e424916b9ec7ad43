"""The metrics by which servers are added: what prometheus-adapter is told gives what the autoscaler asks for."""

import json
import re
from pathlib import Path
from typing import Any

import yaml
from deploy.kubernetes.rendering import examples, render

from checkers import check, installed

ROOT = Path(__file__).parents[2]
RULES = yaml.safe_load((ROOT / "deploy" / "prometheus" / "adapter.yaml").read_text())["rules"]["custom"]
# As the adapter fills its templates in for an autoscaler of pods.
PODS = 'namespace="nasfeat",pod=~"nasfeat-0|nasfeat-1"'


def query(rule: Any) -> str:
    """Give a rule's query as the adapter would ask it."""
    text: str = rule["metricsQuery"]
    return text.replace("<<.LabelMatchers>>", PODS).replace("<<.GroupBy>>", "pod")


def series(name: str, values: str, pod: str, **labels: str) -> dict[str, str]:
    """Give a series of numbers as promtool takes it."""
    named = {"namespace": "nasfeat", "pod": pod, **labels}
    return {
        "series": f"{name}{{{', '.join(f'{key}={json.dumps(value)}' for key, value in named.items())}}}",
        "values": values,
    }


def test_the_autoscaler_asks_for_what_the_adapter_has() -> None:
    """Each metric by its name, and no servers beside the autoscaler's are set."""
    values = examples()["gpu"]
    found = {each["kind"]: each for text in render(values).values() for each in _documents(text)}
    asked = {metric["pods"]["metric"]["name"] for metric in found["HorizontalPodAutoscaler"]["spec"]["metrics"]}
    assert asked == {rule["name"]["as"] for rule in RULES}
    assert "replicas" not in found["StatefulSet"]["spec"]


def _documents(text: str) -> list[Any]:
    return [each for each in yaml.safe_load_all(text) if isinstance(each, dict)] if "apiVersion:" in text else []


def test_the_metrics_that_it_asks_for_exist() -> None:
    """Each is one of docs/METRICS.md, a histogram's parts by their own names."""
    known = set(re.findall(r"^\| `(nasfeat_\w+)`", (ROOT / "docs" / "METRICS.md").read_text(), re.MULTILINE))
    for rule in RULES:
        named = set(re.findall(r"nasfeat_\w+", rule["metricsQuery"] + rule["seriesQuery"]))
        assert {name.removesuffix("_bucket") for name in named} <= known


def test_the_queries_say_how_long_images_wait(tmp_path: Path) -> None:
    """Promtool plays two servers to them: one whose images wait, and one that has none; each has a figure."""
    rules = [{"record": rule["name"]["as"], "expr": query(rule)} for rule in RULES]
    bounds = {"0.1": "0+10x10", "0.5": "0+100x10", "+Inf": "0+100x10"}
    busy = [
        series("nasfeat_stage_seconds_bucket", values, "nasfeat-0", stage="queue", le=bound)
        for bound, values in bounds.items()
    ]
    idle = [series("nasfeat_stage_seconds_bucket", "0x10", "nasfeat-1", stage="queue", le=bound) for bound in bounds]
    gauges = [
        series("nasfeat_ready", "1x10", "nasfeat-0"),
        series("nasfeat_ready", "1x10", "nasfeat-1"),
        series("nasfeat_slots_in_use", "48x10", "nasfeat-0"),
        series("nasfeat_slots_in_use", "0x10", "nasfeat-1"),
        series("nasfeat_queue_capacity", "64x10", "nasfeat-0"),
        series("nasfeat_queue_capacity", "64x10", "nasfeat-1"),
    ]
    expected = {"nasfeat_queue_wait_seconds": (0.1 + 0.4 * 80 / 90, 0), "nasfeat_slots_ratio": (0.75, 0)}
    tests = {
        "rule_files": ["rules.yml"],
        "tests": [
            {
                "interval": "1m",
                "input_series": busy + idle + gauges,
                "promql_expr_test": [
                    {
                        "expr": name,
                        "eval_time": "5m",
                        "exp_samples": [
                            {"labels": f'{name}{{pod="nasfeat-{number}"}}', "value": value}
                            for number, value in enumerate(values)
                        ],
                    }
                    for name, values in expected.items()
                ],
            }
        ],
    }
    # JSON is YAML.
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "adapter", "rules": rules}]}))
    (tmp_path / "tests.yml").write_text(json.dumps(tests))
    assert "SUCCESS" in check(installed("promtool"), "test", "rules", tmp_path / "tests.yml")
