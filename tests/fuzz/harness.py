"""One target under atheris, in a process of its own since libFuzzer never returns: `harness TARGET FLAGS CORPUS...`."""

import functools
import importlib
import shlex
import sys

import atheris
from tests.fuzz.target import Change, Target

# What is ours, and what reads for us in Python. C libraries are not instrumented: nothing guides a search within them.
_INSTRUMENTED = ["nasfeat_server", "PIL", "tomllib", "wsgiref", "http.server", "email", "prometheus_client.exposition"]


def main() -> None:
    """Fuzz until the flags say that it is enough, or something breaks."""
    _, name, *arguments = sys.argv
    with atheris.instrument_imports(include=_INSTRUMENTED):
        module = importlib.import_module(f"tests.fuzz.targets.{name}")
    target: Target = module.TARGET
    mutate = target.mutate
    custom = {"custom_mutator": functools.partial(_mutate, mutate)} if mutate else {}
    with target.open() as check:
        # What libFuzzer merges it does in processes of its own, started by a shell.
        program = shlex.join((sys.executable, "-m", "tests.fuzz.harness", name))
        atheris.Setup([program, f"-max_len={target.largest}", *arguments], check, **custom)
        atheris.Fuzz()


def _mutate(mutate: Change, data: bytes, largest: int, chance: int) -> bytes:
    return mutate(bytes(data), atheris.Mutate, largest, chance)[:largest]


if __name__ == "__main__":
    main()
