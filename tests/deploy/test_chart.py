"""The chart, rendered: valid for the oldest and the newest Kubernetes it names, and true of the program it starts."""

import re
import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import ValidationError

from outbox.settings import Settings
from tests.deploy.doors import PROBES, refuse_wrong_doors
from tests.deploy.helm import CHART, ROOT, helm, rendered, with_values
from tests.deploy.manifests import (
    OTHERS,
    Manifest,
    container,
    matches,
    name_of,
    of_kind,
    pods,
    refuse_odd,
    refuse_unknown_command,
    settings_names,
)

PORTS = {"api": "api_port", "gateway": "gateway_port", "relay": "relay_port", "worker": "worker_port"}


@pytest.mark.parametrize("version", ["1.31", "1.37"])
def test_every_manifest_keeps_to_its_schema(made: list[Manifest], version: str) -> None:
    for manifest in made:
        refuse_odd(manifest, version)


@pytest.mark.parametrize(
    ("kind", "path", "wrong"),
    [
        ("Deployment", ["spec", "replica"], 2),
        ("Deployment", ["spec", "template", "spec", "containers", 0, "readinessProbe", "periodSecond"], 3),
        ("ScaledObject", ["spec", "triggers", 0, "metadata", "streamLength"], 5000),
        ("PodMonitor", ["spec", "podMetricsEndpoints", 0, "intervals"], "15s"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_no_schema_knows_would_be_noticed(
    production: list[Manifest], kind: str, path: list[Any], wrong: object
) -> None:
    manifest = deepcopy(of_kind(production, kind)[0])
    refuse_odd(manifest, "1.37")
    place: Any = manifest
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = wrong
    with pytest.raises(ValidationError, match=str(wrong) if kind == "ScaledObject" else path[-1]):
        refuse_odd(manifest, "1.37")


def test_helm_finds_nothing_to_say_about_the_chart() -> None:
    ran = helm("lint", "--strict", str(CHART), *with_values("production"))
    assert ran.returncode == 0, ran.stdout
    assert not re.search(r"WARN|ERROR", ran.stdout)


def test_every_template_makes_something(production: list[Manifest]) -> None:
    asked = {manifest["kind"] for manifest in production}
    assert asked >= {
        *("ConfigMap", "Deployment", "HorizontalPodAutoscaler", "Ingress", "Job", "NetworkPolicy"),
        *("PodDisruptionBudget", "PodMonitor", "ScaledObject", "Service", "TriggerAuthentication"),
    }
    assert len(production) == len({name_of(manifest) for manifest in production})


def test_what_is_started_is_a_command_of_ours(made: list[Manifest]) -> None:
    for _, pod in pods(made):
        refuse_unknown_command(container(pod)["args"])


def test_a_variable_is_one_that_somebody_reads(made: list[Manifest]) -> None:
    named = {key for each in of_kind(made, "ConfigMap") for key in each["data"]}
    named |= {each["name"] for _, pod in pods(made) for each in container(pod).get("env", [])}
    named |= {
        key
        for each in yaml.safe_load_all((CHART / "secret.example.yaml").read_text())
        for key in each["stringData"]
    }
    assert named <= settings_names() | OTHERS


def test_ports_and_probes_are_those_of_the_processes(made: list[Manifest]) -> None:
    for deployment in of_kind(made, "Deployment"):
        it = container(deployment["spec"]["template"])
        default = Settings.model_fields[PORTS[it["name"]]].default
        assert it["ports"] == [{"name": "http", "containerPort": default}]
        paths = {it[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "liveness", "readiness")}
        assert paths <= PROBES
        assert (
            it["livenessProbe"]["httpGet"]["path"] == "/healthz"
        )  # an outage of Postgres is no reason to restart


def test_a_start_may_take_as_long_as_its_patience(made: list[Manifest]) -> None:
    for deployment in of_kind(made, "Deployment"):
        probe = container(deployment["spec"]["template"])["startupProbe"]
        assert (
            probe["periodSeconds"] * probe["failureThreshold"]
            > Settings.model_fields["start_patience"].default
        )


def test_a_pod_is_given_more_than_its_delay_and_its_grace(made: list[Manifest]) -> None:
    (config,) = of_kind(made, "ConfigMap")
    grace = float(
        config["data"].get("OUTBOX_SHUTDOWN_GRACE", Settings.model_fields["shutdown_grace"].default)
    )
    for deployment in of_kind(made, "Deployment"):
        pod = deployment["spec"]["template"]
        delays = {each["name"]: float(each["value"]) for each in container(pod).get("env", [])}
        delay = delays.get("OUTBOX_SHUTDOWN_DELAY", 0)
        assert pod["spec"]["terminationGracePeriodSeconds"] >= delay + grace + 5
        assert (delay > 0) == (container(pod)["name"] in {"api", "gateway"})  # what a balancer sends to


def test_one_worker_has_all_channels_that_no_other_has(
    production: list[Manifest], made: list[Manifest]
) -> None:
    words = {name: container(pod)["args"] for name, pod in pods(production) if "-worker-" in name}
    others = sorted(channel for args in words.values() if "--except" not in args for channel in args[1:])
    every = words["Deployment/outbox-worker-all"]
    assert every == ["worker", *(word for channel in others for word in ("--except", channel))]
    assert others == ["email", "inapp", "push", "sms", "webhook"]
    assert any(name == "Deployment/outbox-worker-all" for name, _ in pods(made))


def test_pods_may_do_nothing_they_need_not(made: list[Manifest]) -> None:
    for name, pod in pods(made):
        spec, it = pod["spec"], container(pod)
        assert spec["securityContext"]["runAsNonRoot"], name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert spec["automountServiceAccountToken"] is False, name
        assert it["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"cpu", "memory"} <= it["resources"]["requests"].keys(), name
        assert "memory" in it["resources"]["limits"], name


def test_no_variable_of_a_service_link_is_taken_for_a_port(made: list[Manifest]) -> None:
    """A Service outbox-api would bring OUTBOX_API_PORT=tcp://10.0.0.1:80, and no process would start."""
    clashing = {
        f"{each['metadata']['name'].upper().replace('-', '_')}_PORT" for each in of_kind(made, "Service")
    }
    assert clashing & settings_names()
    assert all(pod["spec"]["enableServiceLinks"] is False for _, pod in pods(made))


def test_the_owner_of_the_schema_is_known_to_the_migration_alone(made: list[Manifest]) -> None:
    has = [
        name
        for name, pod in pods(made)
        if {"secretRef": {"name": "outbox-migrator"}} in container(pod)["envFrom"]
    ]
    assert has == ["Job/outbox-migrate"]
    assert all(container(pod)["image"].startswith("registry.example.com/outbox") for _, pod in pods(made))


def test_the_migration_comes_before_everything_else(made: list[Manifest]) -> None:
    (job,) = of_kind(made, "Job")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    # What it needs must be there before the release is: no ConfigMap of ours.
    assert all("configMapRef" not in source for source in container(job["spec"]["template"])["envFrom"])


def test_everything_that_selects_finds_exactly_its_own(made: list[Manifest]) -> None:
    labels = {name: pod["metadata"]["labels"] for name, pod in pods(made)}
    for each in of_kind(made, "Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy"):
        spec = each["spec"]
        selector = spec.get("selector") or spec["podSelector"]
        found = [name for name, own in labels.items() if matches(selector.get("matchLabels", selector), own)]
        if each["kind"] == "Deployment":
            assert found == [name_of(each)]
        elif name_of(each) == "NetworkPolicy/outbox-worker":
            assert len(found) == len([name for name in labels if "-worker-" in name])
        else:
            assert [name.partition("/")[2] for name in found] == [each["metadata"]["name"]]


def test_scalers_and_routes_lead_to_what_is_there(made: list[Manifest]) -> None:
    deployments = {each["metadata"]["name"]: each for each in of_kind(made, "Deployment")}
    services = {each["metadata"]["name"] for each in of_kind(made, "Service")}
    scalers = of_kind(made, "HorizontalPodAutoscaler", "ScaledObject")
    targets = [each["spec"]["scaleTargetRef"]["name"] for each in scalers]
    assert len(targets) == len(set(targets))
    for name in targets:  # two that set the number of replicas would take turns
        assert "replicas" not in deployments[name]["spec"]
    for ingress in of_kind(made, "Ingress"):
        for rule in ingress["spec"]["rules"]:
            assert {path["backend"]["service"]["name"] for path in rule["http"]["paths"]} <= services


def test_the_door_leads_to_every_public_route_and_to_nothing_else(made: list[Manifest]) -> None:
    refuse_wrong_doors(
        {
            path["path"]: path["backend"]["service"]["name"].removeprefix("outbox-")
            for ingress in of_kind(made, "Ingress")
            for path in ingress["spec"]["rules"][0]["http"]["paths"]
        }
    )


RULES = """\
# Prometheus' own templates are left alone.
groups:
  - name: of-a-test
    rules:
      - alert: Odd
        expr: up{job="outbox-api"} == 0
        annotations: {summary: "{{ $labels.instance }} is down"}
"""


def test_the_rules_of_prometheus_are_taken_as_they_are(tmp_path: Path) -> None:
    chart = tmp_path / "outbox"
    shutil.copytree(CHART, chart, ignore=shutil.ignore_patterns("rules"))
    (chart / "rules").mkdir()
    (chart / "rules" / "odd.yml").write_text(RULES)
    (rule,) = of_kind(rendered(*with_values("production"), chart=chart), "PrometheusRule")
    refuse_odd(rule, "1.37")
    assert rule["metadata"]["name"] == "outbox-odd"
    assert rule["spec"] == yaml.safe_load(RULES)


def test_the_rules_are_those_of_every_other_place(production: list[Manifest]) -> None:
    found = [rule["spec"] for rule in of_kind(production, "PrometheusRule")]
    files = sorted((ROOT / "deploy" / "prometheus" / "rules").glob("*.yml"))
    assert found == [yaml.safe_load(path.read_text()) for path in files]


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("image.repository=", "image.repository: none is published"),
        ("image.repository=r/outbox:5", "/image/repository"),
        ("relay.replica=2", "'replica' not allowed"),
        ("settings.OUTBOX_JWT_SECRET=x", "invalid propertyName 'OUTBOX_JWT_SECRET'"),
        ("settings.DATABASE_URL=x", "invalid propertyName 'DATABASE_URL'"),
        ("workers.email.scale.shards=3", "/workers/email/scale/shards"),
        ("workers.email.channels={E mail}", "/workers/email/channels/0"),
        ("keda.redis.address=", "keda.redis.address: KEDA needs host:port"),
        ("keda.redis.address=redis://r:6379", "/keda/redis/address"),
        ("ingress.host=", "ingress.host: under which name"),
        ("workers.all.scale.min=1", "missing properties 'max', 'entriesPerReplica'"),
        ("api.resources.limits=null", "/api/resources"),
    ],
)
def test_a_wrong_value_is_refused_with_its_name(option: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        rendered(*with_values("production"), "--set", option)


def test_a_scaler_for_all_channels_is_refused() -> None:
    wrong = ("workers.all.scale.min=1", "workers.all.scale.max=2", "workers.all.scale.entriesPerReplica=9")
    with pytest.raises(ValueError, match=r"workers\.all\.scale: name its channels"):
        rendered(*with_values("production"), *(word for option in wrong for word in ("--set", option)))
