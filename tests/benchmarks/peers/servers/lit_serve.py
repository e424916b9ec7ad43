"""LitServe: its HTTP process, and one worker that batches without waiting."""

from typing import Any

import litserve
from starlette.requests import Request
from starlette.responses import Response

from peers.model import MAX_BATCH, batch_of, load_model
from peers.servers import arguments


class Features(litserve.LitAPI):  # type: ignore[misc]
    """The worker."""

    def __init__(self, model: str, size: int) -> None:
        super().__init__(max_batch_size=MAX_BATCH, batch_timeout=0.0, api_path="/features")
        self._location = model
        self._size = size

    def setup(self, device: str) -> None:
        """Load the model, in the worker's process."""
        self._model = load_model(self._location)

    # LitServe reads the type of what comes from here; what this gets then is the request's form.
    def decode_request(self, request: Request) -> Any:
        """Take the file of the form: a body of bytes would be written out for a message of the log, used or not."""
        form: Any = request
        return form["picture"].file.read()

    def batch(self, inputs: list[bytes]) -> Any:
        """Make one batch of what was waiting."""
        return batch_of(inputs, self._size)

    def predict(self, x: Any) -> Any:
        """Compute a batch, or one picture where nothing is batched."""
        return self._model(x)

    def unbatch(self, output: Any) -> list[Any]:
        """Take the batch apart."""
        return list(output)

    def encode_response(self, output: Any) -> Response:
        """Answer with the bytes."""
        return Response(output.tobytes(), media_type="application/octet-stream")


def main() -> None:
    """Serve until SIGTERM."""
    told = arguments()
    api = Features(told.model, told.size)
    # By default a queue of multiprocessing stands between its processes; this is the one for throughput.
    server = litserve.LitServer(api, accelerator="cpu", devices=1, workers_per_device=1, timeout=False, fast_queue=True)
    server.run(host=told.host, port=told.port, num_api_servers=1, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
