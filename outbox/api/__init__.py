"""The HTTP door for producers: a request becomes the same outbox row that a plain INSERT would be."""
