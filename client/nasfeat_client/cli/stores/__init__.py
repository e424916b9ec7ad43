"""Databases that features are pushed to."""
