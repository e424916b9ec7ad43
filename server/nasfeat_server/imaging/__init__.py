"""From the bytes of a picture to uint8 RGB pixels of the size that the network takes. No grpc, no TensorFlow."""
