"""TF-Hub modules, found by their handle."""

import socket
import warnings
from pathlib import Path

from nasfeat_server.errors import WeightsError

_TIMEOUT_S = 10.0


def resolve(handle: str) -> Path:
    """Return the local directory of a module, downloading it into TF-Hub's cache if it is not there.

    Args:
        handle: a path, a URL, or a handle on tfhub.dev such as "google/imagenet/nasnet_large/feature_vector/1".

    Raises:
        WeightsError: the module cannot be fetched; within seconds if there is no network.
    """
    url = handle if "://" in handle or Path(handle).exists() else f"https://tfhub.dev/{handle}"
    before = socket.getdefaulttimeout()
    # The library asks without a timeout; a network that swallows packets would hold the start for minutes.
    socket.setdefaulttimeout(_TIMEOUT_S)
    try:
        return Path(_resolve(url))
    except Exception as error:  # the library lets through whatever urllib, tarfile and TensorFlow raise
        raise WeightsError(
            f"cannot fetch {url} ({error}); give the path of a downloaded module or checkpoint, "
            "or random:SEED for untrained weights"
        ) from error
    finally:
        socket.setdefaulttimeout(before)


def _resolve(url: str) -> str:
    with warnings.catch_warnings():
        # tensorflow-hub 0.16.1 imports pkg_resources, which announces its own end.
        warnings.filterwarnings("ignore", message=r".*pkg_resources.*")
        import tensorflow_hub  # noqa: PLC0415
    return str(tensorflow_hub.resolve(url))
