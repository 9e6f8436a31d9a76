"""On a real Docker engine, by `make test-docker`: never a part of `make test`, hence the files' names."""
