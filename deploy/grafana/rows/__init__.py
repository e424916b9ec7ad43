"""The rows of the dashboard, from what users feel to what explains it."""
