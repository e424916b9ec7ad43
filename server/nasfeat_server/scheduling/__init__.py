"""Which frames run next, on which replica: asyncio and the standard library only."""
