"""Extraction by the nodes of a Ray cluster: pictures out of folders and object stores, tables into them."""
