"""The API as an ASGI application: routes, problems, metrics and probes put together."""

from starlette.applications import Starlette
from starlette.middleware import Middleware

from db.pool import Pool
from outbox.api.audit_log import AuditLog
from outbox.api.bounces import Bounces
from outbox.api.browse import Browse
from outbox.api.channels import Channels
from outbox.api.cors import Cors
from outbox.api.dead_letters import DeadLetters
from outbox.api.devices import Devices
from outbox.api.gathering import Gathering
from outbox.api.guard import Guard
from outbox.api.inbox import Inbox
from outbox.api.keys import ApiKeys
from outbox.api.metrics import Measured
from outbox.api.notifications import Notifications
from outbox.api.openapi.routes import Docs
from outbox.api.preferences import Preferences
from outbox.api.privacy import Privacy
from outbox.api.problems import HANDLERS
from outbox.api.quotas import Told
from outbox.api.recipients import Recipients
from outbox.api.sendgrid import SendGridEvents
from outbox.api.statistics import Statistics
from outbox.api.suppressions import Suppressions
from outbox.api.template_versions import TemplateVersions
from outbox.api.templates import Templates
from outbox.api.traced import Traced
from outbox.api.twilio import TwilioCallbacks
from outbox.api.unsubscribe import Unsubscribe
from outbox.nodes import Nodes
from outbox.probes import Health
from outbox.settings import Settings


def create_app(settings: Settings, pool: Pool, health: Health, nodes: Nodes | None = None) -> Starlette:
    """The application on a pool with the rights of outbox_app. It owns neither the pool nor Redis. Its only tasks are
    those of `state.gathering`, which is to be closed before the pool. Without Redis it does what needs none: inboxes
    change, and their sockets hear of it later."""
    guard, gathering = Guard(settings, pool), Gathering(pool)
    app = Starlette(
        routes=[
            *Notifications(settings, pool, guard, gathering).routes(),
            *Browse(settings, pool).routes(),
            *DeadLetters(settings, pool).routes(),
            *Templates(settings, pool).routes(),
            *TemplateVersions(settings, pool).routes(),
            *SendGridEvents(settings, pool).routes(),
            *Bounces(settings, pool).routes(),
            *Unsubscribe(settings, pool).routes(),
            *TwilioCallbacks(settings, pool).routes(),
            *Preferences(settings, pool).routes(),
            *Channels(settings, pool).routes(),
            *Devices(settings, pool).routes(),
            *ApiKeys(settings, pool, guard.keyring).routes(),
            *AuditLog(settings, pool).routes(),
            *Inbox(settings, pool, nodes).routes(),
            *Recipients(settings, pool).routes(),
            *Suppressions(settings, pool).routes(),
            *Statistics(settings, pool, nodes).routes(),
            *Privacy(settings, pool).routes(),
            *Docs(settings).routes(),
            *health.routes(),
        ],
        exception_handlers=HANDLERS,
        middleware=[Middleware(Measured), Middleware(Traced), Middleware(Cors, settings), Middleware(Told)],
    )
    app.router.redirect_slashes = False  # /v1/notifications/ is no other name of anything
    app.state.guard, app.state.gathering = guard, gathering
    return app
