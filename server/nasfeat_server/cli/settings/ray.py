"""[ray]: where replicas run if not on this machine."""

import click

from nasfeat_server.app.replicas import EXECUTORS
from nasfeat_server.cli.settings.option import Options, setting
from nasfeat_server.config import ServerConfig

_DEFAULTS = ServerConfig()
_SECTION = "ray"

RAY: Options = (
    setting(
        _SECTION,
        "--executor",
        type=click.Choice(EXECUTORS),
        default=_DEFAULTS.executor,
        help="Where replicas run: 'local' on the devices of this machine, 'ray' on the nodes of a Ray cluster, which "
        "places them; --devices then says nothing.",
    ),
    setting(
        _SECTION,
        "--ray-address",
        default=_DEFAULTS.ray.address,
        metavar="ADDRESS",
        help="The cluster that this machine is a node of: 'auto', or HOST:PORT of its head.",
    ),
    setting(
        _SECTION,
        "--replicas",
        type=click.IntRange(min=1),
        metavar="N",
        help="How many replicas to ask for; those without a place wait for one, and Ray's autoscaler adds nodes for "
        "them. By default as many as the nodes have room for when the server starts.",
    ),
    setting(
        _SECTION,
        "--min-replicas",
        type=click.IntRange(min=0),
        default=_DEFAULTS.ray.min_replicas,
        help="Serve as soon as so many are warm; 0 waits for all.",
    ),
    setting(
        _SECTION,
        "--keep-replicas",
        type=click.IntRange(min=1),
        metavar="N",
        help="How many of them to keep when there is little to do; Ray's autoscaler then takes idle nodes away. By "
        "default all.",
    ),
    setting(
        _SECTION,
        "--scale-up-after",
        "scale_up_after_s",
        type=click.FloatRange(min=1),
        default=_DEFAULTS.ray.scale_up_after_s,
        help="With --keep-replicas: seconds of more work than the warm ones can do, after which more are asked for.",
    ),
    setting(
        _SECTION,
        "--scale-down-after",
        "scale_down_after_s",
        type=click.FloatRange(min=0, min_open=True),
        default=_DEFAULTS.ray.scale_down_after_s,
        help="With --keep-replicas: seconds of little work, after which those that it does not need are ended.",
    ),
    setting(
        _SECTION,
        "--replica-gpus",
        type=click.FloatRange(min=0),
        default=_DEFAULTS.ray.replica_gpus,
        help="GPUs of each replica; a part of one shares it, 0 computes on CPUs.",
    ),
    setting(
        _SECTION,
        "--replica-cpus",
        type=click.FloatRange(min=0),
        default=_DEFAULTS.ray.replica_cpus,
        help="CPU cores of each replica; without GPUs it is kept to so many.",
    ),
)
