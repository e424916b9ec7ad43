"""Fine-tuning on a folder of pictures: what is read, how it is trained, and what survives a kill."""
