"""The wire of nasfeat: protobuf definitions and the code generated from them, one subpackage for each version."""
