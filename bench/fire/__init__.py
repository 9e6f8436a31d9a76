"""The road under fire: real processes, real kills, and an audit from the outside (`make fire`)."""
