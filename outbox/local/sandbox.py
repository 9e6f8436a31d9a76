"""What lets every channel of `outbox up` work offline: variables that lead the channels' configs to the doubles.

Where a person has an account of their own in the environment, that channel is left to it.
"""

from collections.abc import Mapping
from pathlib import Path

from outbox.local import env
from outbox.local.doubles import twilio
from outbox.local.doubles.accounts import Accounts
from outbox.local.ports import LOOPBACK

FOLDER = "doubles"
FROM = "+15005550006"  # of Twilio's test credentials: the one that may send
# The port of each double, by its name.
PORTS = {
    "twilio": "OUTBOX_TWILIO_PORT",
    "sendgrid": "OUTBOX_SENDGRID_PORT",
    "fcm": "OUTBOX_FCM_PORT",
    "apns": "OUTBOX_APNS_PORT",
    "webhook": "OUTBOX_HOOK_PORT",
}


def settings(state: Path, ports: Mapping[str, int], host: str = LOOPBACK) -> dict[str, str]:
    """For API and workers, which reach the doubles at this host. Writes the keys that are given as files."""
    folder = state / FOLDER
    accounts = Accounts.kept(folder, host)
    at = {name: f"{host}:{ports[port]}" for name, port in PORTS.items()}
    groups = (
        of_sms(accounts, at),
        {"SENDGRID_API_KEY": accounts.sendgrid_key},
        of_push(accounts, at, folder),
        of_webhook(accounts, at),
    )
    return {
        name: value for group in groups if not any(map(env.given, group)) for name, value in group.items()
    }


def of_sms(accounts: Accounts, at: Mapping[str, str]) -> dict[str, str]:
    return {
        "TWILIO_ACCOUNT_SID": twilio.SID,
        "TWILIO_AUTH_TOKEN": accounts.twilio_token,
        "TWILIO_FROM": FROM,
        "TWILIO_URL": f"http://{at['twilio']}",
    }


def of_push(accounts: Accounts, at: Mapping[str, str], folder: Path) -> dict[str, str]:
    fcm_url = f"https://{at['fcm']}"
    accounts.google.write(folder / "fcm.json", fcm_url)
    accounts.apple.write(folder / "apns.p8")
    return {
        "FCM_CREDENTIALS": str(folder / "fcm.json"),
        "FCM_URL": fcm_url,
        "APNS_KEY": str(folder / "apns.p8"),
        "APNS_KEY_ID": accounts.apple.key_id,
        "APNS_TEAM_ID": accounts.apple.team_id,
        "APNS_TOPIC": accounts.apple.topic,
        "APNS_URL": f"https://{at['apns']}",
        "PUSH_CA": str(accounts.certificate.chain),
    }


def of_webhook(accounts: Accounts, at: Mapping[str, str]) -> dict[str, str]:
    """The receiver is on loopback, where webhooks may not go by themselves."""
    return {
        "DEMO_WEBHOOK_URL": f"http://{at['webhook']}/demo",
        "DEMO_WEBHOOK_SECRET": accounts.webhook_secret,
        "OUTBOX_EGRESS_ALLOW": at["webhook"],
    }


def doubled(values: Mapping[str, str]) -> list[str]:
    """The channels whose seeded config does not name a URL, and which these settings lead to a double."""
    return [
        channel for channel, name in (("push", "FCM_URL"), ("webhook", "DEMO_WEBHOOK_URL")) if name in values
    ]
