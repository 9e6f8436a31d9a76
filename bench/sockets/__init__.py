"""Many sockets on one server process, ours or socket.io's: opened, published to through Redis, counted and timed."""
