"""Settings: a wrong value stops the start with its key and value, and a secret is never shown."""

from datetime import timedelta
from pathlib import Path

import pytest

from outbox.errors import SettingsError
from outbox.settings import Settings, resolve

GOOD = {
    "DATABASE_URL": "postgresql://app:hunter2@db:5432/app",
    "REDIS_URL": "redis://:hunter2@cache:6379/0",
    "OUTBOX_JWT_SECRET": "hunter2-" * 5,
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    for key, value in GOOD.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("OUTBOX_STATE", str(tmp_path))
    return monkeypatch


def test_what_is_set_is_read(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("OUTBOX_API_PORT", "9000")
    environment.setenv("OUTBOX_RETENTION", "P7D")
    environment.setenv("OUTBOX_NOTIFICATION_RETENTION", "P90D")
    environment.setenv("OUTBOX_GATEWAY_ORIGINS", "https://shop.example, https://www.example")
    settings = Settings.load()
    assert settings.database == GOOD["DATABASE_URL"]
    assert settings.listen_database == settings.migrate_database == settings.database
    assert (settings.api_port, settings.retention.days) == (9000, 7)
    assert settings.notification_retention == timedelta(days=90)
    assert settings.gateway_origins == ["https://shop.example", "https://www.example"]
    assert settings.public_api_url == "http://127.0.0.1:9000"


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("OUTBOX_API_PORT", "eighty", "OUTBOX_API_PORT='eighty': "),
        ("OUTBOX_API_PORT", "70000", "OUTBOX_API_PORT='70000': "),
        ("OUTBOX_ENV", "staging", "OUTBOX_ENV='staging': "),
        ("OUTBOX_RELAY_POLL", "0", "OUTBOX_RELAY_POLL='0': "),
        (
            "OUTBOX_NOTIFICATION_RETENTION",
            "PT23H",
            "OUTBOX_NOTIFICATION_RETENTION='PT23H': Value error, must be a day",
        ),
        (
            "OUTBOX_NOTIFICATION_RETENTION",
            "P2D",
            "OUTBOX_NOTIFICATION_RETENTION=2 days, 0:00:00 is shorter than",
        ),
        ("OUTBOX_NOTIFICATION_RETENTION", "soon", "OUTBOX_NOTIFICATION_RETENTION='soon': "),
        ("DATABASE_URL", "mysql://app:hunter2@db/app", "DATABASE_URL=(hidden): "),
        ("DATABASE_URL", "postgresql://", "DATABASE_URL=(hidden): "),
        ("REDIS_URL", "http://:hunter2@cache", "REDIS_URL=(hidden): "),
        (
            "REDIS_URL",
            "redis+cluster://:hunter2@a,b/3",
            "REDIS_URL=(hidden): Value error, a cluster has no other",
        ),
        ("OUTBOX_JWT_SECRET", "hunter2", "OUTBOX_JWT_SECRET=(hidden): "),
        ("OUTBOX_LISTEN_DATABASE_URL", "hunter2", "OUTBOX_LISTEN_DATABASE_URL=(hidden): "),
    ],
)
def test_a_wrong_value_is_named_and_a_secret_is_not_shown(
    environment: pytest.MonkeyPatch, key: str, value: str, said: str
) -> None:
    environment.setenv(key, value)
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    assert str(caught.value).startswith(said)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_everything_that_is_missing_is_named_at_once(environment: pytest.MonkeyPatch) -> None:
    for key in GOOD:
        environment.delenv(key)
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    assert str(caught.value).splitlines() == [f"{key} is not set" for key in GOOD]


def test_secrets_do_not_print(environment: pytest.MonkeyPatch) -> None:
    settings = Settings.load()
    assert "hunter2" not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"


def test_a_running_outbox_up_fills_what_the_environment_leaves_open(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.delenv("REDIS_URL")
    (tmp_path / "local.env").write_text("REDIS_URL=redis://local:1/0\nDATABASE_URL=postgresql://other/x\n")
    settings = Settings.load()
    assert (settings.redis, settings.database) == ("redis://local:1/0", GOOD["DATABASE_URL"])


def test_a_reference_is_resolved_or_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMTP_URL", "smtp://mail:25")
    monkeypatch.delenv("NOWHERE", raising=False)
    assert resolve("env:SMTP_URL") == "smtp://mail:25"
    with pytest.raises(SettingsError, match=r"NOWHERE is not set.*'env:NOWHERE'"):
        resolve("env:NOWHERE")
    with pytest.raises(SettingsError, match="write env:NAME"):
        resolve("smtp://mail:25")


def test_behind_a_pooler_postgres_itself_must_be_known(environment: pytest.MonkeyPatch) -> None:
    pooled, direct = "postgresql://u@pool:6432/d?pooler=transaction", "postgresql://u@db:5432/d"
    environment.setenv("DATABASE_URL", pooled)
    for listen in ("", pooled):
        if listen:
            environment.setenv("OUTBOX_LISTEN_DATABASE_URL", listen)
        with pytest.raises(SettingsError, match="OUTBOX_LISTEN_DATABASE_URL must be set to Postgres itself"):
            Settings.load()
    environment.setenv("OUTBOX_LISTEN_DATABASE_URL", direct)
    made = Settings.load()
    assert {made.listen_database, made.own_database, made.migrate_database} == {direct}
    environment.setenv("DATABASE_URL", pooled.replace("transaction", "session"))
    with pytest.raises(SettingsError, match="pooler=session in the URL: only pooler=transaction is known"):
        Settings.load()
    environment.setenv("DATABASE_URL", "postgresql://u@elsewhere:5432/d")
    apart = Settings.load()
    assert apart.own_database == apart.migrate_database == "postgresql://u@elsewhere:5432/d"
