"""Ray Serve: its HTTP proxy, and one replica that batches with `serve.batch`, which waits for nothing."""

import signal
import threading
from typing import Any

import ray
from ray import serve
from ray.serve.schema import LoggingConfig
from starlette.requests import Request
from starlette.responses import Response

from peers.model import MAX_BATCH, batch_of, load_model
from peers.servers import arguments


@serve.deployment(num_replicas=1, max_ongoing_requests=256, ray_actor_options={"num_cpus": 1})
class Features:
    """The replica."""

    def __init__(self, model: str, size: int) -> None:
        self._model = load_model(model)
        self._size = size

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=0)  # type: ignore[untyped-decorator]
    async def features(self, pictures: list[bytes]) -> list[bytes]:
        """Compute a batch."""
        return [row.tobytes() for row in self._model(batch_of(pictures, self._size))]

    async def __call__(self, request: Request) -> Response:
        """Answer one request."""
        return Response(await self.features(await request.body()), media_type="application/octet-stream")


def main() -> None:
    """Serve until SIGTERM."""
    told = arguments()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    options: dict[str, Any] = {"include_dashboard": False, "object_store_memory": 100 * 2**20, "num_cpus": 4}
    ray.init(_temp_dir=told.scratch, **options)
    # A line in the log for each request would be most of what is measured at the least loads.
    quiet = LoggingConfig(enable_access_log=False)
    serve.start(http_options={"host": told.host, "port": told.port}, logging_config=quiet)
    app = Features.bind(told.model, told.size)  # type: ignore[attr-defined]
    serve.run(app, name="features", route_prefix="/features", logging_config=quiet)
    stop.wait()
    ray.shutdown()


if __name__ == "__main__":
    main()
