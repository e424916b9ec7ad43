"""Version 2 of the protocol; the code here is generated from the .proto files beside it."""
