"""Which public path leads to which process, as every way of hosting has to have it."""

from collections.abc import Mapping

from outbox.api.app import create_app
from outbox.local.doubles.sendgrid_events import Signer
from outbox.probes import Health
from outbox.settings import Settings
from tests.conftest import SECRET

GATEWAY = ("/v1/ws", "/v1/events", "/v1/events/ticket", "/v1/client/outbox-inbox.js")
PROBES = {route.path for route in Health().routes()}


def refuse_wrong_doors(doors: Mapping[str, str]) -> None:
    """Raises AssertionError. `doors`: a component by a prefix of the path; the longest one wins."""
    for path in every_path_of_the_api():
        assert leads_to(doors, path) == (None if path in PROBES else "api"), path
    for path in GATEWAY:
        assert leads_to(doors, path) == "gateway", path


def leads_to(doors: Mapping[str, str], path: str) -> str | None:
    under = [door for door in doors if path == door or path.startswith(f"{door}/")]
    return doors[max(under, key=len)] if under else None


def every_path_of_the_api() -> list[str]:
    """Of an application that is never asked anything, so that it needs no pool."""
    settings = Settings(
        DATABASE_URL="postgresql://x/x",
        REDIS_URL="redis://x",
        env="development",
        jwt_secret=SECRET,
        sendgrid_webhook_keys=[Signer().verification_key],
    )
    app = create_app(settings, None, Health())  # type: ignore[arg-type]
    return [route.path for route in app.routes]  # type: ignore[attr-defined]  # each is a Route
