"""Migrations only expand: what a process of the last release reads stays, and nothing keeps producers waiting. What is
in release 0004 is written and done."""

import subprocess
import sysconfig
from pathlib import Path

import pytest

from outbox.settings import PROJECT

SQUAWK = Path(sysconfig.get_path("scripts")) / "squawk"
RELEASED = "0004"
MIGRATIONS = PROJECT / "db" / "migrations" / "sql"
COMING = [path for path in sorted(MIGRATIONS.glob("*/*.sql")) if path.parent.name[:4] > RELEASED]


def judged(*paths: Path) -> "subprocess.CompletedProcess[str]":
    command: list[str | Path] = [SQUAWK, "--config", PROJECT / ".squawk.toml", "--reporter", "gcc", *paths]
    return subprocess.run(command, capture_output=True, check=False, text=True)


def test_what_is_not_released_yet() -> None:
    if COMING:
        done = judged(*COMING)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ("ALTER TABLE notify.outbox DROP COLUMN priority;", "ban-drop-column"),
        ("ALTER TABLE notify.outbox RENAME COLUMN priority TO lane;", "renaming-column"),
        ("ALTER TABLE notify.outbox ALTER COLUMN attempt TYPE bigint;", "changing-column-type"),
        ("ALTER TABLE notify.outbox ADD COLUMN shard integer NOT NULL;", "adding-required-field"),
        ("CREATE INDEX later ON notify.deliveries (settled_at);", "require-concurrent-index-creation"),
        (
            "ALTER TABLE notify.deliveries ADD CONSTRAINT c CHECK (attempts >= 0);",
            "constraint-missing-not-valid",
        ),
    ],
)
def test_what_would_stop_old_processes_or_producers_is_found(
    tmp_path: Path, statement: str, rule: str
) -> None:
    path = tmp_path / "1_wrong.sql"
    path.write_text(statement)
    done = judged(path)
    assert done.returncode != 0
    assert rule in done.stdout
