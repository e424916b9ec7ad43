"""Events the core emits, and the one module that turns them into Prometheus metrics."""
