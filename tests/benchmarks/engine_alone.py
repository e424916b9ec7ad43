"""The reference for what the server adds: the engine alone in its process, driven in a loop, no server.

Prints the images a second of each round asked for on standard input, one number of images a line.
"""

import os
import sys
import time

from measure import photographs

from nasfeat_server.engine.engines.tensorflow import create
from nasfeat_server.engine.interface import EngineOptions
from nasfeat_server.network.outputs import FEATURE_VECTOR
from nasfeat_server.network.weights.locate import locate


def main() -> None:
    """Load what the arguments say (variant, weights, batch size), then run rounds until the input ends."""
    variant, weights, batch = sys.argv[1], sys.argv[2], int(sys.argv[3])
    options = EngineOptions(
        engine="tensorflow",
        model=locate(weights, variant),
        run_module_graph=False,
        cores=tuple(sorted(os.sched_getaffinity(0))),
        batch_buckets=(batch,),
    )
    engine = create(options)
    engine.load()
    engine.warm_up(batch)
    images = photographs(batch)
    print("serving engine on none, metrics on none", flush=True)
    for line in sys.stdin:
        rounds = max(int(line) // batch, 1)
        started_at = time.perf_counter()
        for _ in range(rounds):
            engine.run(images, (FEATURE_VECTOR,))
        print(rounds * batch / (time.perf_counter() - started_at), flush=True)


if __name__ == "__main__":
    main()
