"""What `outbox up` sets so that the channels write to the doubles, and what it leaves to the person."""

from pathlib import Path

import pytest

from outbox.local import env, sandbox
from outbox.local.doubles.accounts import Accounts

NAMES = ("TWILIO_ACCOUNT_SID", "SENDGRID_API_KEY", "FCM_CREDENTIALS", "APNS_KEY", "OUTBOX_EGRESS_ALLOW")


@pytest.fixture(autouse=True)
def nothing_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def test_accounts_are_made_once_and_kept_private(tmp_path: Path) -> None:
    first = sandbox.settings(tmp_path, env.PORTS)
    assert sandbox.settings(tmp_path, env.PORTS) == first
    kept = [tmp_path / sandbox.FOLDER / name for name in ("accounts.json", "fcm.json", "apns.p8")]
    assert [path.stat().st_mode & 0o777 for path in kept] == [0o600] * len(kept)
    other = sandbox.settings(tmp_path / "other", env.PORTS)
    assert other["TWILIO_AUTH_TOKEN"] != first["TWILIO_AUTH_TOKEN"]
    assert other["DEMO_WEBHOOK_SECRET"] != first["DEMO_WEBHOOK_SECRET"]


def test_they_are_read_as_they_were_written(tmp_path: Path) -> None:
    made = Accounts.kept(tmp_path)
    assert Accounts.kept(tmp_path).written() == made.written()


def test_only_the_receiver_on_this_machine_is_opened(tmp_path: Path) -> None:
    values = sandbox.settings(tmp_path, {**env.PORTS, "OUTBOX_HOOK_PORT": 9035})
    assert values["OUTBOX_EGRESS_ALLOW"] == "127.0.0.1:9035"
    assert values["DEMO_WEBHOOK_URL"] == "http://127.0.0.1:9035/demo"


@pytest.mark.parametrize(
    ("name", "absent", "doubled"),
    [
        ("TWILIO_ACCOUNT_SID", "TWILIO_URL", ["push", "webhook"]),
        ("SENDGRID_API_KEY", "SENDGRID_API_KEY", ["push", "webhook"]),
        ("FCM_CREDENTIALS", "APNS_URL", ["webhook"]),
        ("APNS_KEY", "FCM_URL", ["webhook"]),
        ("OUTBOX_EGRESS_ALLOW", "DEMO_WEBHOOK_URL", ["push"]),
    ],
)
def test_a_channel_with_an_account_of_the_person_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, absent: str, doubled: list[str]
) -> None:
    monkeypatch.setenv(name, "10.0.0.0/8")
    values = sandbox.settings(tmp_path, env.PORTS)
    assert absent not in values
    assert sandbox.doubled(values) == doubled
