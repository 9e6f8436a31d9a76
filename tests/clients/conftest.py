"""The gateway of the gateway's tests."""

from tests.gateway.conftest import gate, inbox

__all__ = ["gate", "inbox"]
