"""The nasfeat server: images in, NASNet-A feature vectors out, over gRPC."""
