"""Doubles of the providers: small servers on loopback that speak their documented protocols, take everything, send it
to nobody, show what they took, and fail on demand. For tests, and for `make up`."""
