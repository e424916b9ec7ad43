"""The network as it is served: batch normalisation folded away, and one module for each thing that it becomes."""
