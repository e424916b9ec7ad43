"""How learning rate and averages follow the length of a training."""

import keras

from nasfeat_server.errors import ConfigurationError
from nasfeat_server.network.spec import NetworkSpec
from nasfeat_server.network.training.options import Recipe

_WINDOWS = 10
_LEAST_DECAY = 0.9


def learning_rates(recipe: Recipe, steps_per_epoch: int) -> keras.optimizers.schedules.CosineDecay:
    """Make the schedule, from step to learning rate: up in a line from 0, then down to 0 along a cosine.

    Raises:
        ConfigurationError: the warm-up takes all epochs.
    """
    warmup = recipe.epochs / 10 if recipe.warmup_epochs is None else recipe.warmup_epochs
    if warmup >= recipe.epochs:
        raise ConfigurationError(f"a warm-up of {warmup:g} epochs leaves nothing of {recipe.epochs} epochs")
    rising = int(warmup * steps_per_epoch)
    falling = recipe.epochs * steps_per_epoch - rising
    if not rising:
        return keras.optimizers.schedules.CosineDecay(recipe.learning_rate, falling)
    return keras.optimizers.schedules.CosineDecay(0.0, falling, warmup_target=recipe.learning_rate, warmup_steps=rising)


def batch_norm_decay(recipe: Recipe, spec: NetworkSpec, steps: int) -> float:
    """Say how much of the moving statistics a step keeps: what the recipe says, else what fits a training of `steps`.

    Inference uses the moving statistics. With the decay of the original, 0.9997, they still are those of the start
    after a thousand steps, and fit no weight any more. A decay of 1 - 10 / steps averages over the last tenth of the
    training and leaves e^-10 of the start; from 33,333 steps on it is the original's. It is 0.9 at least, since an
    average over fewer than ten batches depends on their pictures.
    """
    if recipe.batch_norm_decay is not None:
        return recipe.batch_norm_decay
    return min(spec.batch_norm_decay, max(_LEAST_DECAY, 1 - _WINDOWS / steps))
