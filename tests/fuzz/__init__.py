"""Inputs that nobody would make on purpose, millions of them: to the decoders, the parsers and the port."""
