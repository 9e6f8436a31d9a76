"""`outbox template`: as files and back."""

from pathlib import Path

from db.pool import Connection
from outbox.settings import Settings
from tests.cli.conftest import Command


async def test_out_and_back(outbox: Command, configured: Settings, admin: Connection, tmp_path: Path) -> None:
    assert "default" in (await outbox("template", "list", "--channel", "email")).output
    folder = str(tmp_path)
    assert (await outbox("template", "export", folder)).exit_code == 0
    subject = tmp_path / "email" / "default" / "subject.txt"
    assert subject.read_text() == "{{ payload.title or event_type }}"
    unchanged = await outbox("template", "import", folder)
    assert unchanged.exit_code == 0, unchanged.output
    assert "version" not in unchanged.output
    subject.write_text("New: {{ event_type }}\n")
    german = tmp_path / "email" / "default@de"
    german.mkdir()
    (german / "body.txt").write_text("Hallo {{ user_id }}\n")
    trial = await outbox("template", "import", folder, "--dry-run")
    assert "email default: version 2" in trial.output
    assert "Nothing was changed" in trial.output
    assert await admin.fetchval("SELECT max(version) FROM notify.templates") == 1
    done = await outbox("template", "import", folder)
    assert "email default (de): version 1" in done.output
    assert (
        await admin.fetchval("SELECT subject FROM notify.templates WHERE version = 2")
        == "New: {{ event_type }}"
    )
    shown = await outbox("template", "preview", "email", "default", "--locale", "de-AT")
    assert "Hallo alice" in shown.output


async def test_all_or_none(outbox: Command, configured: Settings, admin: Connection, tmp_path: Path) -> None:
    for name, text in (("good", "fine"), ("bad", "a\n{% if %}")):
        place = tmp_path / "email" / name
        place.mkdir(parents=True)
        (place / "body.txt").write_text(text)
    refused = await outbox("template", "import", str(tmp_path))
    assert refused.exit_code != 0
    assert "template 'bad' version 0, text line 2" in refused.output
    assert await admin.fetchval("SELECT count(*) FROM notify.templates WHERE name = 'good'") == 0


async def test_what_is_no_template_is_named(outbox: Command, configured: Settings, tmp_path: Path) -> None:
    (tmp_path / "fax" / "welcome").mkdir(parents=True)
    assert "no such channel: fax" in (await outbox("template", "import", str(tmp_path))).output
    (tmp_path / "fax" / "welcome" / "body.pdf").write_text("")
    assert "body.pdf is not one of" in (await outbox("template", "import", str(tmp_path))).output
    assert "is no folder" in (await outbox("template", "import", str(tmp_path / "none"))).output
    missing = await outbox("template", "preview", "email", "none")
    assert "there is no template 'none' of channel email" in missing.output
