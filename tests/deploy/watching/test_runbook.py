"""The runbook's commands, settings and panels are those that there are."""

import re

from typer.testing import CliRunner

from outbox.cli import app
from outbox.settings import Settings
from tests.deploy.watching.test_dashboard import SHOWN
from tests.deploy.watching.tools import ROOT

TEXT = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
CODE = re.findall(r"`([^`\n]+)`", TEXT) + re.findall(r"^docker compose .*$", TEXT, flags=re.MULTILINE)
WORDS = re.compile(r"(?:^|exec \S+ )outbox ([a-z]+)(?: ([a-z]+))?")
GROUPS = {"dlq", "key"}


def test_commands_exist() -> None:
    called = {match.groups() for code in CODE for match in WORDS.finditer(code)}
    assert len(called) >= 4
    for command, second in called:
        words = [command, second] if command in GROUPS and second else [command]
        assert CliRunner().invoke(app, [*words, "--help"]).exit_code == 0, words


def test_settings_exist() -> None:
    known = {f"OUTBOX_{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(r"OUTBOX_[A-Z_]+[A-Z]", TEXT)) <= known


def test_panels_exist() -> None:
    named = set(re.findall(r"(?<![*\w])\*([A-Z][^*\n]+)\*(?!\*)", TEXT))
    assert named
    assert named <= {panel["title"] for panel in SHOWN}


def test_links_within_lead_somewhere() -> None:
    anchors = {
        title.lower().replace(" ", "-") for title in re.findall(r"^## (.+)$", TEXT, flags=re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= anchors
