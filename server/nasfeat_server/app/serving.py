"""From the parts of one version of the model to what the edge serves of it, in whichever process that is."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from cachetools import LRUCache

from nasfeat_server.app.replicas import Site
from nasfeat_server.config import ServerConfig
from nasfeat_server.engine.cores import usable_cores
from nasfeat_server.engine.interface import ModelDescription
from nasfeat_server.imaging.decode import preprocessing_digest
from nasfeat_server.imaging.digest import digest_key
from nasfeat_server.imaging.framing import Framing
from nasfeat_server.imaging.types import ImageLimits
from nasfeat_server.rpc.catalog import Calls, Served
from nasfeat_server.rpc.convert import identity_message, model_message
from nasfeat_server.rpc.decoding import Decoding
from nasfeat_server.rpc.frames import FramePath
from nasfeat_server.rpc.telling import Standing
from nasfeat_server.scheduling.interface import Scheduler, Slots, Windows
from nasfeat_server.scheduling.sharing import Key, Sharing
from nasfeat_server.telemetry.events import Observer
from nasfeat_server.telemetry.version_counts import VersionCounts

# Images on their way keep their bytes until then, for others to be compared to, and those that wait for them do.
_MAX_SHARED_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """What all versions of the model use together.

    Attributes:
        decoders: threads that decode.
        decoding_room: for images that are being decoded.
        cache: recent results; their keys name the model.
        observer: told of everything.
        site: where replicas run.
        on_change: called whenever a replica becomes warm or is lost.
    """

    decoders: ThreadPoolExecutor
    decoding_room: asyncio.Semaphore
    cache: LRUCache[Key, bytes] | None
    observer: Observer
    site: Site
    on_change: Callable[[], None]


@contextlib.contextmanager
def common(
    *, cache_bytes: int, observer: Observer, site: Site, on_change: Callable[[], None], share: int = 1
) -> Iterator[Common]:
    """Make it for the process that has one `share`-th of the server's cores."""
    cores = max(1, usable_cores().count // share)
    with ThreadPoolExecutor(cores, thread_name_prefix="decode") as decoders:
        yield Common(
            decoders=decoders,
            decoding_room=asyncio.Semaphore(2 * cores),
            cache=LRUCache(cache_bytes, getsizeof=len) if cache_bytes else None,
            observer=observer,
            site=site,
            on_change=on_change,
        )


def served(
    config: ServerConfig,
    description: ModelDescription,
    using: Common,
    *,
    images: npt.NDArray[np.uint8],
    slots: Slots,
    dispatcher: Scheduler,
    windows: Windows,
    observer: Observer,
    counts: VersionCounts | None,
) -> Served:
    """Put the way of images together.

    Args:
        config: the server's.
        description: what the replicas have loaded.
        using: the rest of the process.
        images: the arena's, uint8 [slots, H, W, 3].
        slots: the scheduler's, or what stands for them; so for `dispatcher` and `windows`.
        dispatcher: where decoded images go.
        windows: what streams may have in flight.
        observer: told of its images.
        counts: what the version has done, if anybody asks for that.
    """
    framing, limits = Framing.parse(config.crop), config.limits
    digest = preprocessing_digest(description.image_height, description.image_width, framing)
    identity = identity_message(description, config.model_version, digest)
    path = FramePath(
        slots=slots,
        dispatcher=dispatcher,
        decoding=Decoding(
            images=images,
            threads=using.decoders,
            room=using.decoding_room,
            limits=ImageLimits(max_bytes=limits.max_image_bytes, max_pixels=limits.max_image_pixels),
            framing=framing,
        ),
        sharing=Sharing(cache=using.cache, max_bytes=_MAX_SHARED_BYTES if config.single_flight else 0),
        digest_key=digest_key(identity.weights_digest, identity.precision, identity.wiring, digest),
        observer=observer,
        standing=Standing(version=config.model_version),
    )
    model = model_message(description, identity, limits)
    return Served(path=path, description=description, model=model, windows=windows, calls=Calls(), counts=counts)
