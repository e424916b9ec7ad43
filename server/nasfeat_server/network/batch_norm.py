"""Batch normalisation as the original trains it."""

from typing import Any

import keras
import tensorflow as tf


class BatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
    """Keras' layer whose moving variance is fed the unbiased variance of the batch.

    TF-Slim's fused kernel divides by the number of pixels less one there, and by their number when it normalises.
    Keras divides by their number in both.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise float32 [N, H, W, C]: with the batch's statistics in training, else with the moving ones."""
        if not (training and self.trainable):
            return super().call(inputs, training=False, mask=mask)
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs, self.gamma, self.beta, epsilon=self.epsilon, is_training=True
        )
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + batch * (1 - self.momentum))
        return outputs
