"""`python -m deploy.kubernetes`: writes the plain manifests."""

from pathlib import Path

import click
from deploy.kubernetes.rendering import as_manifests, examples


@click.command
def main() -> None:
    """Write the manifests that the chart makes of each of its files of values."""
    for name, values in examples().items():
        path = Path(__file__).with_name(f"{name}.yaml")
        path.write_text(as_manifests(name, values))
        click.echo(f"wrote {path}")


if __name__ == "__main__":
    main()
