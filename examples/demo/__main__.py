"""Serve NASNet-A on this machine, stream a video to it, and show what came back.

Run by `make demo`, or by `python -m examples.demo` from the root of the checkout.
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from examples.demo import features, report, similarity
from examples.demo.pictures import Photograph, photographs
from examples.demo.server import Server, ServerExitedError, started
from examples.demo.video import make_video, read_frames
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from nasfeat_client import FeatureClient

_CANNOT_START = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; returns the exit code."""
    options = _parser().parse_args(arguments)
    console = Console()
    # A polite kill ends the server too, by way of the context managers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options.output.mkdir(parents=True, exist_ok=True)
    try:
        return _run_with_weights(options, console)
    except ServerExitedError as error:
        console.print(str(error), style="red", markup=False, highlight=False)
        console.print(f"The whole log: {options.output / 'server.log'}")
        return 1
    except KeyboardInterrupt:
        console.print("Interrupted; the server is stopped.")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=__doc__)
    parser.add_argument("--variant", default="large", help="the network: large, mobile or cifar (default: large)")
    parser.add_argument("--weights", help="the weights (default: the published ones, or else random:0)")
    parser.add_argument("--engine", default="auto", help="what computes: auto, openvino, tensorflow or fake")
    parser.add_argument("--frames", type=int, default=9, metavar="N", help="video frames of each photograph")
    parser.add_argument("--output", type=Path, default=Path("demo-output"), metavar="DIR", help="where files go")
    return parser


def _run_with_weights(options: argparse.Namespace, console: Console) -> int:
    if options.weights:
        return _run(options, console, options.weights, "")
    try:
        return _run(options, console, "published", "")
    except ServerExitedError as error:
        if error.code != _CANNOT_START:
            raise
        console.print("The published weights cannot be had here; starting again with random ones.", style="yellow")
        return _run(options, console, "random:0", f"The server on the published weights: {error.reason}")


def _run(options: argparse.Namespace, console: Console, weights: str, why_random: str) -> int:
    wanted = ("--variant", options.variant, "--weights", weights, "--engine", options.engine)
    with started(wanted, options.output / "server.log") as server:
        _wait(server, console, f"nasfeat-server {' '.join(wanted)}")
        _show(server, options, console, why_random)
        code = server.stop()
    console.print(f"Told to stop, the server ended with exit code {code}.")
    return 0 if code == 0 else 1


def _wait(server: Server, console: Console, command: str) -> None:
    console.print(f"Starting [bold]{command}[/bold]", highlight=False)
    with console.status("waiting until it is ready") as status:
        server.wait_ready(lambda line: status.update(f"[dim]{line[-100:].replace('[', '(')}[/dim]"))
    console.print(f"Ready on {server.target}; metrics on {server.metrics}", highlight=False)
    console.print(f"While this runs, a browser shows what the server does: {server.status_page}", highlight=False)


def _show(server: Server, options: argparse.Namespace, console: Console, why_random: str) -> None:
    pictures = photographs()
    owners = [index for index in range(len(pictures)) for _ in range(options.frames)]
    with FeatureClient(server.target) as client:
        model = features.model_facts(client)
        stills = features.extract_photographs(client, pictures, model.feature_length)
        video = _stream(client, pictures, options, console, model.feature_length)
    console.print(report.summary_table(model, stills, video))
    console.print(report.stage_table(video))
    if not model.trained:
        console.print(report.untrained_note(why_random))
    for index, message in (*stills.errors.items(), *video.errors.items()):
        console.print(f"picture {index} failed: {message}", style="red", markup=False)
    if not (stills.errors or video.errors):
        _compare(pictures, owners, stills, video, options.output, console)


def _stream(
    client: FeatureClient, pictures: Sequence[Photograph], options: argparse.Namespace, console: Console, length: int
) -> features.Extraction:
    path = options.output / "video.mp4"
    codec = make_video(pictures, path, frames_each=options.frames)
    total = options.frames * len(pictures)
    console.print(f"Made {path}: {total} frames of {len(pictures)} photographs, {codec}", highlight=False)
    columns = (TextColumn("streaming"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=total)
        return features.extract_video(client, read_frames(path), length, lambda: progress.advance(task))


def _compare(
    pictures: Sequence[Photograph],
    owners: Sequence[int],
    stills: features.Extraction,
    video: features.Extraction,
    output: Path,
    console: Console,
) -> None:
    names = [picture.name for picture in pictures]
    count = len(names)
    cosines = similarity.centred_cosines(np.concatenate([stills.vectors, video.vectors]))
    console.print(report.likeness_table(names, cosines[:count, :count], cosines[count:, :count], owners))
    similarity.draw(cosines[count:, count:], names, owners, output / "similarity.png", "Video frames, by photograph")
    np.savez(
        output / "features.npz",
        photographs=stills.vectors,
        names=np.array(names),
        frames=video.vectors,
        frame_owners=np.array(owners),
    )
    console.print(f"Written to {output}: features.npz, similarity.png, video.mp4, server.log", highlight=False)


if __name__ == "__main__":
    sys.exit(main())
