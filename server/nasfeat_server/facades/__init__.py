"""Other servers' protocols, spoken on the port of our own: each image takes the way that ours take."""
