"""What follows from how long a training is."""

import pytest

from nasfeat_server.errors import ConfigurationError
from nasfeat_server.network.spec import VARIANTS
from nasfeat_server.network.training.options import Recipe


def test_the_rate_rises_and_falls() -> None:
    """Up in a line over the warm-up, down along a cosine to nothing at the last step."""
    from nasfeat_server.network.training.schedule import learning_rates

    rates = learning_rates(Recipe(epochs=10, learning_rate=0.5, warmup_epochs=2), 10)
    values = [float(rates(step)) for step in (0, 10, 20, 60, 100)]
    assert values == pytest.approx([0, 0.25, 0.5, 0.25, 0], abs=1e-6)


def test_the_warm_up_is_a_tenth_by_default_and_may_be_none() -> None:
    """Without one, the first step has the full rate."""
    from nasfeat_server.network.training.schedule import learning_rates

    assert float(learning_rates(Recipe(epochs=20), 7)(14)) == pytest.approx(Recipe().learning_rate)
    assert float(learning_rates(Recipe(warmup_epochs=0), 7)(0)) == pytest.approx(Recipe().learning_rate)
    assert float(learning_rates(Recipe(epochs=1), 1)(0)) == pytest.approx(Recipe().learning_rate)


def test_a_warm_up_of_all_epochs_is_refused() -> None:
    """The rate would never fall."""
    from nasfeat_server.network.training.schedule import learning_rates

    with pytest.raises(ConfigurationError, match="a warm-up of 3 epochs leaves nothing of 3 epochs"):
        learning_rates(Recipe(epochs=3, warmup_epochs=3), 10)


@pytest.mark.parametrize(("steps", "decay"), [(10, 0.9), (100, 0.9), (1000, 0.99), (33_334, 0.9997), (10**6, 0.9997)])
def test_the_averages_fit_the_length_of_the_training(steps: int, decay: float) -> None:
    """The moving statistics span the last tenth of the training; a long one has the original's decay."""
    from nasfeat_server.network.training.schedule import batch_norm_decay

    assert batch_norm_decay(Recipe(), VARIANTS["large"], steps) == pytest.approx(decay, abs=1e-6)
    assert batch_norm_decay(Recipe(), VARIANTS["cifar"], steps) == 0.9
    assert batch_norm_decay(Recipe(batch_norm_decay=0.5), VARIANTS["large"], steps) == 0.5
