"""The instruments must not lie either."""
