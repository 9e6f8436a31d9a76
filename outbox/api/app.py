"""The API as an ASGI application: routes, problems, metrics and probes put together."""

from starlette.applications import Starlette
from starlette.middleware import Middleware

from db.pool import Pool
from outbox.api.bounces import Bounces
from outbox.api.channels import Channels
from outbox.api.cors import Cors
from outbox.api.dead_letters import DeadLetters
from outbox.api.devices import Devices
from outbox.api.guard import Guard
from outbox.api.metrics import Measured
from outbox.api.notifications import Notifications
from outbox.api.preferences import Preferences
from outbox.api.problems import HANDLERS
from outbox.api.sendgrid import SendGridEvents
from outbox.api.templates import Templates
from outbox.api.twilio import TwilioCallbacks
from outbox.api.unsubscribe import Unsubscribe
from outbox.probes import Health
from outbox.settings import Settings


def create_app(settings: Settings, pool: Pool, health: Health) -> Starlette:
    """The application on a pool with the rights of outbox_app. It owns neither the pool nor any task."""
    app = Starlette(
        routes=[
            *Notifications(settings, pool).routes(),
            *DeadLetters(settings, pool).routes(),
            *Templates(settings, pool).routes(),
            *SendGridEvents(settings, pool).routes(),
            *Bounces(settings, pool).routes(),
            *Unsubscribe(settings, pool).routes(),
            *TwilioCallbacks(settings, pool).routes(),
            *Preferences(settings, pool).routes(),
            *Channels(settings, pool).routes(),
            *Devices(settings, pool).routes(),
            *health.routes(),
        ],
        exception_handlers=HANDLERS,
        middleware=[Middleware(Measured), Middleware(Cors, settings)],
    )
    app.state.guard = Guard(settings)
    return app
