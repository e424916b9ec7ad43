"""A module for each target, with all that it needs and no more, since what is imported is instrumented."""
