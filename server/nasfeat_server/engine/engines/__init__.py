"""What runs inside a replica process, one module for each runtime."""
