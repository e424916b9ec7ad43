"""mosec: its HTTP server in Rust, and one Python worker that gets batches."""

import os
from typing import Any

from mosec import Server, Worker

from peers.model import MAX_BATCH, batch_of, load_model
from peers.servers import arguments


class Features(Worker):  # type: ignore[misc]
    """The worker."""

    resp_mime_type = "application/octet-stream"

    def __init__(self) -> None:
        super().__init__()
        self._model = load_model(os.environ["PEER_MODEL"])
        self._size = int(os.environ["PEER_SIZE"])

    def deserialize(self, data: bytes) -> bytes:
        """Take the body as it is."""
        return data

    def forward(self, data: list[bytes]) -> list[Any]:
        """Compute a batch."""
        return list(self._model(batch_of(data, self._size)))

    def serialize(self, data: Any) -> bytes:
        """Answer with the bytes."""
        return bytes(data)


def main() -> None:
    """Serve until SIGTERM; mosec reads where from its own environment variables."""
    told = arguments()
    os.environ.update(MOSEC_ADDRESS=told.host, MOSEC_PORT=str(told.port), MOSEC_LOG_LEVEL="warning")
    server = Server()
    environment = [{"PEER_MODEL": told.model, "PEER_SIZE": str(told.size)}]
    # A millisecond is the least that it can be told to wait for a batch.
    server.append_worker(Features, num=1, max_batch_size=MAX_BATCH, max_wait_time=1, env=environment, route="/features")
    server.run()


if __name__ == "__main__":
    main()
