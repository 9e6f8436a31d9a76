"""The one error of the embedded servers: what failed, and what to do about it."""


class EmbeddedError(RuntimeError):
    """The embedded servers cannot run here; the message is written for the person at the keyboard."""
