"""The status page: what a browser is shown at the port of the metrics, and how pictures are tried there."""
