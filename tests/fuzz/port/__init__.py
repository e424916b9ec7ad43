"""The port of a real server under all kinds of bytes, with well-behaved clients beside them."""
