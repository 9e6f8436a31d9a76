"""The App Platform specification: of the shape that DigitalOcean takes, and true of the program it starts."""

import shlex
from pathlib import Path

import pytest
import yaml

from outbox.settings import Settings
from tests.deploy.app_spec import App
from tests.deploy.doors import PROBES, refuse_wrong_doors
from tests.deploy.helm import ROOT
from tests.deploy.manifests import OTHERS, refuse_unknown_command, settings_names

SPEC = Path(ROOT / "deploy" / "digitalocean" / "app.yaml")
GRACE = Settings.model_fields["shutdown_grace"].default


@pytest.fixture
def spec() -> App:
    return App.model_validate(yaml.safe_load(SPEC.read_text()))


def test_what_is_started_is_a_command_of_ours(spec: App) -> None:
    for component in (*spec.jobs, *spec.services, *spec.workers):
        program, *words = shlex.split(component.run_command)
        assert program == "outbox"
        refuse_unknown_command(words)


def test_a_variable_is_one_that_somebody_reads(spec: App) -> None:
    named = {each.key for each in spec.envs} | {each.key for job in spec.jobs for each in job.envs}
    assert named <= settings_names() | OTHERS
    needed = {"DATABASE_URL", "REDIS_URL", "OUTBOX_JWT_SECRET", "OUTBOX_API_URL", "OUTBOX_HOST"}
    assert needed <= {each.key for each in spec.envs}


def test_what_is_bound_is_a_database_of_the_app(spec: App) -> None:
    databases = {each.name for each in spec.databases}
    bound = {each.value[2:].split(".")[0] for each in spec.envs if each.value.startswith("${")}
    assert bound - {"APP_URL}"} == databases


def test_secrets_are_marked_as_such(spec: App) -> None:
    for each in (*spec.envs, *(own for job in spec.jobs for own in job.envs)):
        assert each.type == "SECRET" or not ("PASSWORD" in each.value or each.key.endswith("_SECRET"))


def test_the_owner_of_the_schema_is_known_to_the_migration_alone(spec: App) -> None:
    (migrate,) = spec.jobs
    assert migrate.kind == "PRE_DEPLOY"
    assert [each.key for each in migrate.envs] == ["OUTBOX_MIGRATE_DATABASE_URL"]
    assert "OUTBOX_MIGRATE_DATABASE_URL" not in {each.key for each in spec.envs}


def test_ports_and_probes_are_those_of_the_processes(spec: App) -> None:
    for service in spec.services:
        assert service.http_port == Settings.model_fields[f"{service.name}_port"].default
        assert service.health_check.http_path == "/readyz"
    for worker in spec.workers:
        port = worker.liveness_health_check.port
        assert port == Settings.model_fields[f"{worker.name}_port"].default
    alive = [each.liveness_health_check for each in spec.services]
    alive += [each.liveness_health_check for each in spec.workers]
    assert {each.http_path for each in alive} == {"/healthz"}
    assert {"/healthz", "/readyz"} <= PROBES


def test_all_are_given_more_than_their_grace(spec: App) -> None:
    given = [each.termination.grace_period_seconds for each in spec.services]
    given += [each.termination.grace_period_seconds for each in spec.workers]
    assert min(given) > GRACE


def test_the_door_leads_to_every_public_route_and_to_nothing_else(spec: App) -> None:
    assert all(rule.component.preserve_path_prefix for rule in spec.ingress.rules)
    refuse_wrong_doors({rule.match.path.prefix: rule.component.name for rule in spec.ingress.rules})
