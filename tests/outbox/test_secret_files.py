"""NAME_FILE: a secret that is handed over as a file."""

from pathlib import Path

import pytest

from outbox.errors import SettingsError
from outbox.secret_files import held, held_value
from outbox.settings import Settings, resolve

URL = "postgresql://app:hunter2@db:5432/app"


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """As Docker mounts it, and nothing in the environment."""
    for name in Settings.variables():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OUTBOX_STATE", str(tmp_path / "none"))
    files = {"database_url": URL + "\n", "redis_url": "redis://:hunter2@cache", "jwt_secret": "hunter2-" * 5}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        variable = name.upper() if name.endswith("_url") else f"OUTBOX_{name.upper()}"
        monkeypatch.setenv(f"{variable}_FILE", str(tmp_path / name))
    return tmp_path


def test_settings_are_read_from_their_files(folder: Path) -> None:
    settings = Settings.load()
    assert settings.database == URL
    assert settings.jwt_secret.get_secret_value() == "hunter2-" * 5


def test_any_setting_may_be_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "origins").write_text("https://a.example,https://b.example\n")
    monkeypatch.setenv("OUTBOX_GATEWAY_ORIGINS_FILE", str(folder / "origins"))
    assert Settings.load().gateway_origins == ["https://a.example", "https://b.example"]


def test_a_wrong_value_in_a_file_is_named_and_not_shown(folder: Path) -> None:
    (folder / "database_url").write_text("mysql://app:hunter2@db/app")
    with pytest.raises(SettingsError, match=r"DATABASE_URL=\(hidden\)") as caught:
        Settings.load()
    assert "hunter2" not in str(caught.value)


def test_every_file_that_cannot_be_read_is_named(folder: Path) -> None:
    (folder / "redis_url").unlink()
    (folder / "jwt_secret").write_bytes(b"\xff\xfe")
    (folder / "database_url").write_text("\n")
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    assert str(caught.value).splitlines() == [
        f"DATABASE_URL_FILE={folder}/database_url: is empty",
        f"REDIS_URL_FILE={folder}/redis_url: cannot be read: No such file or directory",
        f"OUTBOX_JWT_SECRET_FILE={folder}/jwt_secret: is not text",
    ]


def test_of_variable_and_file_one_must_be_chosen(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", URL)
    with pytest.raises(SettingsError, match="DATABASE_URL and DATABASE_URL_FILE exclude each other"):
        Settings.load()


def test_what_a_channel_refers_to_may_be_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "smtp").write_text("smtps://mail.example\n")
    monkeypatch.setenv("SMTP_URL_FILE", str(folder / "smtp"))
    assert resolve("env:SMTP_URL") == "smtps://mail.example"


def test_only_the_names_asked_for_are_read() -> None:
    environment = {"SSL_CERT_FILE": "/nonexistent", "OTHER_FILE": "/nonexistent"}
    assert held(["DATABASE_URL"], environment) == {}
    assert held_value("DATABASE_URL", {"DATABASE_URL_FILE": ""}) is None
