"""`nasfeat-server serve`, the command that needs no name."""

import asyncio
from typing import Any

import click

from nasfeat_server.app import main
from nasfeat_server.cli.allocator import keep_freed_memory
from nasfeat_server.cli.options import device_names, engine_options, network_options
from nasfeat_server.config import Endpoint, RequestLimits, ServerConfig
from nasfeat_server.errors import ConfigurationError
from nasfeat_server.telemetry import logging

_DEFAULTS = ServerConfig()
_LIMITS = RequestLimits()
_MIB = 2**20
_LARGEST_BATCH = {"cpu": 4, "gpu": 32}


@click.command
@network_options
@engine_options
@click.option(
    "--run-module-graph",
    is_flag=True,
    help="Run the graph that the weights' module brings, in place of our own: slower, to compare.",
)
@click.option(
    "--crop",
    default=_DEFAULTS.crop,
    help="How pictures are brought to the network's square: 'stretch', 'letterbox' (proportions kept, gray at two "
    "sides) or 'center_crop:0.875' (that part of the middle, as TF-Slim evaluates).",
)
@click.option("--model-version", default=_DEFAULTS.model_version, help="Your name for these weights.")
@click.option("--listen", default=str(_DEFAULTS.listen), metavar="HOST:PORT", help="Where gRPC is served.")
@click.option("--metrics", default=str(_DEFAULTS.metrics), metavar="HOST:PORT", help="Where Prometheus scrapes.")
@click.option("--max-batch", type=int, help="Largest batch, a power of two.  [default: 4 on a CPU, 32 on a GPU]")
@click.option("--slots", type=int, help="Decoded images held at once.  [default: 64, or four batches a replica]")
@click.option("--max-window", default=_LIMITS.max_window, help="Frames in flight on one stream.")
@click.option("--max-streams", default=_LIMITS.max_streams, help="Streams open at once; further ones are refused.")
@click.option(
    "--max-waiting-images",
    default=_LIMITS.max_waiting_images,
    help="Images of unary calls that may wait for room; further ones are refused.",
)
@click.option("--max-image-mib", default=_LIMITS.max_image_bytes // _MIB, help="Largest image, MiB encoded or raw.")
@click.option("--max-image-pixels", default=_LIMITS.max_image_pixels, help="Largest image, height x width.")
@click.option(
    "--max-result-mib", default=_LIMITS.max_result_bytes // _MIB, help="All outputs of one image together, MiB."
)
@click.option("--max-images-per-call", default=_LIMITS.max_images_per_call, help="Images in one unary call.")
@click.option("--grace", default=_DEFAULTS.grace_s, help="Seconds that work in flight may take after SIGTERM.")
@click.option("--hang", default=_DEFAULTS.hang_s, help="Seconds without an answer after which a replica is killed.")
@click.option(
    "--start-limit",
    "start_limit_s",
    default=_DEFAULTS.start_limit_s,
    help="Seconds without progress after which a replica that starts is killed.",
)
@click.option(
    "--quarantine-after",
    default=_DEFAULTS.quarantine_after,
    help="Deaths of a device's replicas in a row, none of which lived for a minute, after which it is left alone ...",
)
@click.option("--quarantine", "quarantine_s", default=_DEFAULTS.quarantine_s, help="... for so many seconds.")
@click.option(
    "--outage",
    default=_DEFAULTS.outage_s,
    help="Seconds without any replica after which images that wait are answered as UNAVAILABLE.",
)
@click.option(
    "--single-flight/--no-single-flight",
    default=_DEFAULTS.single_flight,
    help="Compute an image once while the same image is on its way.  [default: yes]",
)
@click.option("--cache-mib", default=0, help="Recent results kept for images that come again, MiB.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", help="The log.")
def serve(**options: Any) -> None:
    """Turn images into NASNet-A feature vectors over gRPC streams.

    Ends with exit code 0 after SIGTERM or Ctrl-C, when what was in flight is answered; with 2 if it cannot start as
    it was told to.
    """
    logging.configure(options.pop("log_level"))
    keep_freed_memory()
    try:
        asyncio.run(main(_config(**options)))
    except ConfigurationError as error:
        raise click.UsageError(str(error)) from error


def _config(
    *,
    devices: str,
    listen: str,
    metrics: str,
    max_batch: int | None,
    slots: int | None,
    grace: float,
    hang: float,
    **options: Any,
) -> ServerConfig:
    names = device_names(devices)
    size = max_batch or _LARGEST_BATCH.get(names[0].partition(":")[0], 4)
    limits = RequestLimits(
        max_image_bytes=options.pop("max_image_mib") * _MIB,
        max_image_pixels=options.pop("max_image_pixels"),
        max_images_per_call=options.pop("max_images_per_call"),
        max_result_bytes=options.pop("max_result_mib") * _MIB,
        max_window=options.pop("max_window"),
        max_streams=options.pop("max_streams"),
        max_waiting_images=options.pop("max_waiting_images"),
    )
    return ServerConfig(
        devices=names,
        listen=Endpoint.parse(listen),
        metrics=Endpoint.parse(metrics),
        max_batch_size=size,
        slots=slots or max(_DEFAULTS.slots, 4 * size * len(names)),
        limits=limits,
        grace_s=grace,
        hang_s=hang,
        outage_s=options.pop("outage"),
        cache_bytes=options.pop("cache_mib") * _MIB,
        **options,
    )
