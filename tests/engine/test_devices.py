"""Which replica gets which part of the machine."""

import pytest

from nasfeat_server.engine.cores import Cores
from nasfeat_server.engine.devices import place
from nasfeat_server.errors import ConfigurationError

_SEVEN = Cores(numbers=tuple(range(3, 10)))


def test_cpu_replicas_share_the_cores_without_overlap() -> None:
    """Every core belongs to exactly one CPU replica, and the shares differ by one core at most."""
    placements = place(["cpu:0", "cpu:1", "gpu:0", "cpu:2"], _SEVEN)
    assert [placement.cores for placement in placements] == [(3, 4), (5, 6), (), (7, 8, 9)]
    assert {placement.threads for placement in placements} == {0}


@pytest.mark.parametrize(
    ("quota", "devices", "threads"),
    [
        (4.0, ["cpu:0"], [4]),
        (4.0, ["cpu:0", "cpu:1"], [2, 2]),
        (5.0, ["cpu:0", "cpu:1"], [2, 2]),
        (1.5, ["cpu:0", "cpu:1", "cpu:2"], [1, 1, 1]),
        (3.5, ["gpu:0", "gpu:1"], [4, 4]),
    ],
)
def test_a_limit_of_processor_time_leaves_fewer_threads_on_all_cores(
    quota: float, devices: list[str], threads: list[int]
) -> None:
    """CPU replicas share the time, and the cores as without a limit; what GPUs' processes may use they may all use."""
    free = place(devices, _SEVEN)
    limited = place(devices, Cores(numbers=_SEVEN.numbers, quota=quota))
    assert [placement.threads for placement in limited] == threads
    assert [placement.cores for placement in limited] == [placement.cores for placement in free]


def test_a_process_sees_its_own_gpu_and_no_other() -> None:
    """A GPU's replica is given its number, a CPU's replica no GPU at all."""
    environments = {placement.device: placement.environment for placement in place(["gpu:3", "cpu:0"], _SEVEN)}
    assert environments["gpu:3"]["CUDA_VISIBLE_DEVICES"] == "3"
    assert environments["gpu:3"]["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert environments["cpu:0"] == {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}


@pytest.mark.parametrize(
    ("devices", "message"),
    [
        (["cpu"], "device 'cpu' is not of the form cpu:N or gpu:N"),
        (["cpu:0", "cpu:0"], "one or more different names, not cpu:0,cpu:0"),
        ([], "one or more different names, not none"),
        ([f"cpu:{number}" for number in range(1000)], "1000 CPU replicas need as many cores"),
    ],
)
def test_devices_that_cannot_be_are_refused_with_the_reason(devices: list[str], message: str) -> None:
    """The error says what was wrong and what is allowed."""
    with pytest.raises(ConfigurationError, match=message):
        place(devices, _SEVEN)
