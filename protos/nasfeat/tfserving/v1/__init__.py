"""Version 1 of the operators' protocol; the code here is generated from the .proto files beside it."""
