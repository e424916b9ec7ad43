"""nasfeat beside other servers: the same pictures, network and weights, on one machine, in one run; `make peers`.

Each peer's server and client run in a virtual environment of their own, where nothing of this project is installed:
`clients`, `servers`, `load`, `model`, `pictures` and `percentiles` import the standard library and what that
environment's requirements name. What is measured, and how it is kept fair, stands in docs/PEERS.md.
"""
