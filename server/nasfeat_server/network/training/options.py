"""What a fine-tuning is told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to train: everything that the result depends on beside the weights and the pictures.

    Attributes:
        epochs: passes over the training pictures.
        batch_size: pictures in a step; fewer if there are not as many.
        learning_rate: of stochastic gradient descent with Nesterov momentum 0.9, at the end of the warm-up.
        warmup_epochs: how long the rate rises from 0 before it falls along a cosine; None: a tenth of `epochs`.
        weight_decay: of kernels, for a rate of 1; batch normalisations and biases have none.
        clip_norm: the longest that the gradient of all variables together may be.
        label_smoothing: the share of each target that is spread over all classes.
        dropout: how much of the feature vector the classifier misses in training.
        drop_path_keep_prob: how often a branch of the last cell is kept; None: as the network's spec has it.
        batch_norm_decay: the share of the old moving statistics that a step keeps; None: see `batch_norm_decay`.
        auxiliary: train a second classifier in mid-network along, whose loss counts 0.4.
        freeze_up_to: "stem" or the last cell that stays as it is; None: everything is trained.
        augment: crop, mirror and colour the training pictures at random.
        patience: epochs without a lower validation loss after which training ends; 0: never.
        seed: of the order, the augmentation, the new variables and what dropout leaves out.
    """

    epochs: int = 20
    batch_size: int = 16
    learning_rate: float = 0.01
    warmup_epochs: float | None = None
    weight_decay: float = 5e-5
    clip_norm: float = 10.0
    label_smoothing: float = 0.1
    dropout: float = 0.5
    drop_path_keep_prob: float | None = None
    batch_norm_decay: float | None = None
    auxiliary: bool = False
    freeze_up_to: str | None = None
    augment: bool = True
    patience: int = 5
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Where a fine-tuning finds what it needs and leaves what it makes.

    Attributes:
        data: a directory with a folder of pictures for each class.
        validation: the share of the pictures that is held back, or another directory like `data`.
        skip_unreadable: leave out the files that are no pictures, where else they are refused.
        weights: the source of the weights to start from.
        variant: the network, as `load_weights` takes it.
        keras_wiring: see `NetworkSpec.wiring`.
        cache: where downloads are kept.
        output: the module's directory.
        form: the kind of module.
        overwrite: replace what is at `output`.
        work: the directory for what a resumed run needs; removed when all is done.
        logs: the directory for TensorBoard.
        checkpoint_s: seconds between two savings of the state, beside those at the end of each epoch.
    """

    data: Path
    validation: float | Path
    skip_unreadable: bool
    weights: str
    variant: str | None
    keras_wiring: bool
    cache: Path | None
    output: Path
    form: Literal["hub", "savedmodel"]
    overwrite: bool
    work: Path
    logs: Path
    checkpoint_s: float
