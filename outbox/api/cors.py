"""Lets pages of the origins in OUTBOX_GATEWAY_ORIGINS call the routes of a user: older items, preferences."""

from urllib.parse import urlsplit

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from outbox.settings import Settings

USERS = "/v1/users/"
LOOPBACK = r"https?://(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?"
READ = ("Authorization", "Content-Type", "If-Match", "If-None-Match", "traceparent")
SHOWN = ("ETag", "Retry-After", "RateLimit", "RateLimit-Policy")
PREFLIGHT_SECONDS = 600


class Cors:
    """CORS (Fetch standard) for what belongs to a user, and for nothing else: producers are no browsers.

    Tokens travel in a header, never in a cookie, so no page can act for a user who has not given it a token.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.open = CORSMiddleware(
            app,
            allow_origins=[*settings.gateway_origins, origin_of(settings.public_gateway_url)],
            allow_origin_regex=LOOPBACK if settings.env == "development" else None,
            allow_methods=["GET", "PUT", "POST", "DELETE"],
            allow_headers=READ,
            expose_headers=SHOWN,
            max_age=PREFLIGHT_SECONDS,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        users = scope["type"] == "http" and scope["path"].startswith(USERS)
        await (self.open if users else self.app)(scope, receive, send)


def origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
