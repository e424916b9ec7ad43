"""Run by hand on a machine with a GPU; see `__main__`."""
