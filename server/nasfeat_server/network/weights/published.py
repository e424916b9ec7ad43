"""The weights that the authors of NASNet-A published, in the three forms that can be had of them."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from nasfeat_server.errors import WeightsError
from nasfeat_server.network.spec import NetworkSpec
from nasfeat_server.network.weights import hub
from nasfeat_server.network.weights.download import fetch, place_of
from nasfeat_server.network.weights.reach import unreachable
from nasfeat_server.network.weights.values import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Where one network's weights are.

    Attributes:
        handle: of the feature-vector module of TF-Hub.
        checkpoint: URL of TF-Slim's archive.
        keras: URL of Keras' file, with 1000 classes.
        keras_digest: of that file; nothing is known of the others.
    """

    handle: str
    checkpoint: str
    keras: str
    keras_digest: str


_SLIM = "https://storage.googleapis.com/download.tensorflow.org/models/"
_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications/nasnet/"

# Sources: the module's page on tfhub.dev; research/slim/README.md of github.com/tensorflow/models;
# keras/src/applications/nasnet.py of Keras 3.15.1, which has the digests too.
PUBLISHED: Mapping[str, Published] = MappingProxyType(
    {
        "nasnet_large": Published(
            handle="google/imagenet/nasnet_large/feature_vector/1",
            checkpoint=f"{_SLIM}nasnet-a_large_04_10_2017.tar.gz",
            keras=f"{_KERAS}NASNet-large.h5",
            keras_digest="md5:11577c9a518f0070763c2b964a382f17",
        ),
        "nasnet_mobile": Published(
            handle="google/imagenet/nasnet_mobile/feature_vector/1",
            checkpoint=f"{_SLIM}nasnet-a_mobile_04_10_2017.tar.gz",
            keras=f"{_KERAS}NASNet-mobile.h5",
            keras_digest="md5:020fb642bf7360b370c678b08e0adf61",
        ),
    }
)
"""By the name of the spec."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Form:
    url: str
    kept: Callable[[], Path | None]
    get: Callable[[], Path]


def find_published(spec: NetworkSpec, cache: Path, report: Report) -> Path:
    """Return the module's directory, TF-Slim's archive or Keras' file: one that is here, else the first to be had.

    Raises:
        WeightsError: there are none, or none can be had; it says why of each, within seconds if there is no network.
    """
    if spec.name not in PUBLISHED:
        raise WeightsError(
            f"no weights of {spec.name} are published, only of {', '.join(PUBLISHED)}; give a checkpoint or random:SEED"
        )
    forms = _forms(PUBLISHED[spec.name], cache, report)
    for form in forms:
        if kept := form.kept():
            return kept
    # All at once, for they would be waited for one after the other.
    failed = unreachable([form.url for form in forms])
    reasons = []
    for form in forms:
        if form.url in failed:
            reasons.append(f"cannot fetch {form.url}: {failed[form.url]}")
        else:
            try:
                return form.get()
            except WeightsError as error:
                reasons.append(str(error))
        report(reasons[-1])
    raise WeightsError("\n  ".join([f"the published weights of {spec.name} cannot be had:", *reasons]))


def _forms(published: Published, cache: Path, report: Report) -> tuple[_Form, ...]:
    handle = published.handle
    files = ((published.checkpoint, None), (published.keras, published.keras_digest))
    return (
        _Form(
            url=hub.url_of(handle),
            kept=functools.partial(hub.cached, handle),
            get=functools.partial(hub.resolve, handle, report),
        ),
        *(
            _Form(
                url=url,
                kept=functools.partial(_kept, url, cache),
                get=functools.partial(fetch, url, cache, digest=digest, report=report),
            )
            for url, digest in files
        ),
    )


def _kept(url: str, cache: Path) -> Path | None:
    path = place_of(url, cache)
    return path if path.is_file() else None
