"""One notification by all five channels, traced from its POST to the last provider's answer, and drawn as it was."""
