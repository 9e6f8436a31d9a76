"""What `outbox up` prints when everything runs: where it is, and lines to copy and try. Pure but for PATH."""

import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from outbox.local.ports import LOOPBACK
from outbox.local.servers import Embedded
from outbox.local.up_lines import paint
from outbox.settings import Settings
from outbox.tokens import Scope, issue

DEMO_USER = "alice"
LIFETIME = timedelta(days=30)
INSERT = (
    "BEGIN; "
    "INSERT INTO notify.outbox (event_type, user_id, channels, payload) "
    "VALUES ('order.paid', 'alice', '{inapp,email}', jsonb_build_object('title', 'Order 17 is paid')); "
    "COMMIT"
)


def banner(settings: Settings, values: Mapping[str, str], servers: Embedded, *, watched: bool = False) -> str:
    mail = f"http://{LOOPBACK}:{values['OUTBOX_MAIL_PORT']}"
    page = f"{settings.public_gateway_url}/#token={issue(settings, DEMO_USER, Scope.USER, LIFETIME)}"
    token = issue(settings, "demo", Scope.PRODUCER, LIFETIME)
    psql = "psql" if shutil.which("psql") else str(servers.psql or "psql")
    database = servers.producer_url or settings.database
    places = [("API", f"{settings.public_api_url}/docs"), ("mail", mail)]
    channels = ["inapp", "email"]
    if port := values.get("OUTBOX_PROVIDERS_PORT"):  # the doubles run, too
        places.append(("providers", f"http://{LOOPBACK}:{port}"))
        channels += ["sms", "push", "webhook"]
    if watched:
        ports = {"Grafana": "OUTBOX_GRAFANA_PORT", "Prometheus": "OUTBOX_PROMETHEUS_PORT"}
        places += [(name, f"http://{LOOPBACK}:{values[port]}") for name, port in ports.items()]
    places.append((f"{DEMO_USER}'s inbox", page))
    by_all = " ".join(f"-c {channel}" for channel in channels)
    tries = [
        (
            "send one by every channel and watch it arrive",
            f"{command()} send --user {DEMO_USER} --title 'Hello' --body 'It works.' {by_all}",
        ),
        ("the same from SQL, in a transaction", f'{shlex.quote(psql)} {shlex.quote(database)} -c "{INSERT}"'),
        (
            "the same over HTTP",
            f"TOKEN={token}\n"
            f'curl -sS {settings.public_api_url}/v1/notifications -H "Authorization: Bearer $TOKEN" '
            "-H 'Content-Type: application/json' "
            '-d \'{"event_type": "order.paid", "user_id": "alice", "payload": {"title": "Order 18 is paid"}}\'',
        ),
        ("look inside", f"{command()} status --watch"),
    ]
    lines = ["", paint("Outbox is ready.", "1;32") + " Ctrl-C stops it; the data stays.", ""]
    lines += [f"  {paint(f'{name:<14}', 1)} {paint(url, 36)}" for name, url in places]
    for name, line in tries:
        lines += ["", f"  {paint(name, 1)}", line]
    return "\n".join([*lines, ""])


def command() -> str:
    """How `outbox` must be typed so that it works in any folder and finds this very system."""
    program = Path(sys.executable).with_name("outbox")
    found = shutil.which("outbox")
    if found and Path(found).resolve() == program.resolve():
        name = "outbox"
    elif program.exists():
        name = shlex.quote(str(program))
    else:
        name = f"{shlex.quote(sys.executable)} -m outbox.cli"
    state = os.environ.get("OUTBOX_STATE")
    return f"OUTBOX_STATE={shlex.quote(str(Path(state).resolve()))} {name}" if state else name
