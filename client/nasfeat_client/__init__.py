"""The typed Python client of nasfeat."""
