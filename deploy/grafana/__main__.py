"""`python -m deploy.grafana`: writes the dashboard's JSON."""

from pathlib import Path

import click
from deploy.grafana.dashboard import RUNBOOKS, as_json


@click.command(context_settings={"show_default": True})
@click.option("--runbooks", default=RUNBOOKS, help="Where your copy of docs/runbooks is read.")
@click.option(
    "--output", type=click.Path(path_type=Path), default=Path(__file__).with_name("nasfeat.json"), help="The file."
)
def main(runbooks: str, output: Path) -> None:
    """Write the Grafana dashboard."""
    output.write_text(as_json(runbooks))
    click.echo(f"wrote {output}")


if __name__ == "__main__":
    main()
