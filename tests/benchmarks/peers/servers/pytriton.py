"""NVIDIA Triton as PyTriton uses it: Triton's server forms batches, and calls a function in this process."""

from typing import Any

import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from peers.model import MAX_BATCH, Model, batch_of, load_model
from peers.servers import Arguments, arguments


def _bind(triton: Any, told: Arguments, model: Model) -> None:
    @batch  # type: ignore[untyped-decorator]
    def raw(pictures: Any) -> list[Any]:
        return [model(pictures)]

    @batch  # type: ignore[untyped-decorator]
    def jpeg(pictures: Any) -> list[Any]:
        return [model(batch_of([row[0] for row in pictures], told.size))]

    inputs = {
        "raw": (raw, Tensor(name="pictures", dtype=np.uint8, shape=(told.size, told.size, 3))),
        "jpeg": (jpeg, Tensor(name="pictures", dtype=bytes, shape=(1,))),
    }
    config = ModelConfig(max_batch_size=MAX_BATCH, batcher=DynamicBatcher(max_queue_delay_microseconds=0))
    for load in told.loads:
        infer, tensor = inputs[load]
        features = Tensor(name="features", dtype=np.float32, shape=(-1,))
        triton.bind(load, infer, inputs=[tensor], outputs=[features], config=config)


def main() -> None:
    """Serve until SIGTERM."""
    told = arguments()
    config = TritonConfig(
        grpc_address=told.host, grpc_port=told.port, allow_http=False, allow_metrics=False, log_verbose=0
    )
    with Triton(config=config, workspace=f"{told.scratch}/workspace") as triton:
        _bind(triton, told, load_model(told.model))
        triton.serve()


if __name__ == "__main__":
    main()
