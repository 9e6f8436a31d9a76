"""The shell scripts of deploy/, with a program in docker's place that writes down what it is asked."""

import os
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from outbox.production import weakness
from outbox.settings import PROJECT

DOCKER = """#!/bin/sh
echo "$*" >> "$ASKED"
case "$*" in
  *" config --services") printf 'worker-sms\\nfront\\napi-1\\npostgres\\nrelay-2\\ngateway-1\\nmigrate\\n';;
  *"$FAILS"*) exit 1;;
esac
"""


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "docker"
    program.write_text(DOCKER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("ASKED", str(tmp_path / "asked"))
    monkeypatch.setenv("FAILS", "nothing")
    return tmp_path / "asked"


def run(script: str, *words: str, cwd: Path = PROJECT) -> subprocess.CompletedProcess[str]:
    line = [str(PROJECT / "deploy" / script), *words]
    return subprocess.run(line, cwd=cwd, capture_output=True, text=True, check=False)


def test_all_of_ours_are_replaced_one_by_one(asked: Path) -> None:
    assert run("rolling-restart.sh", "-f", "compose.production.yml").returncode == 0
    first, *others = asked.read_text().splitlines()
    assert first == "compose -f compose.production.yml config --services"
    up = "compose -f compose.production.yml up --detach --wait --no-deps --force-recreate"
    assert others == [f"{up} {name}" for name in ("api-1", "gateway-1", "relay-2", "worker-sms")]


def test_one_that_does_not_become_healthy_ends_it(asked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAILS", "gateway-1")
    assert run("rolling-restart.sh").returncode != 0
    assert asked.read_text().splitlines()[-1].endswith(" gateway-1")


def test_secrets_are_made_once(tmp_path: Path) -> None:
    said = run("make-secrets.sh", cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    assert "missing secrets/tls_key" in said.stdout
    folder = tmp_path / "secrets"
    made = {path.name: path.read_text() for path in folder.iterdir()}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert urlsplit(made["database_url"]).password == made["service_password"]
    assert urlsplit(made["redis_url"]).password == made["redis_password"]
    assert weakness(made["jwt_secret"]) is None
    run("make-secrets.sh", cwd=tmp_path)
    assert {path.name: path.read_text() for path in folder.iterdir()} == made


def test_production_asks_for_no_other_secret(tmp_path: Path) -> None:
    run("make-secrets.sh", cwd=tmp_path)
    made = {path.name for path in (tmp_path / "secrets").iterdir()}
    text = (PROJECT / "compose.production.yml").read_text()
    asked = {line.split("/")[-1].strip('"} \n') for line in text.splitlines() if "{file:" in line}
    assert asked == made | {"tls_certificate", "tls_key"}
