"""Replica processes, their supervision, and the shared memory that images and results travel in."""
