"""All targets inside of the process; those at the port are in `tests.fuzz.port`."""

from tests.fuzz.targets import images, payload, pixels, requests, scrapes, settings, tokens

TARGETS = {
    module.TARGET.name: module.TARGET for module in (images, pixels, payload, requests, tokens, settings, scrapes)
}
"""Each by its name."""
