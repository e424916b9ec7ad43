"""A client of each kind of server, in the way that its users would use it; each has `open_client`."""
