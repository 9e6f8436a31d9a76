"""compose.yml and compose.production.yml hold what the documents say. Whether they run is for tests/docker to see."""

import re
from typing import Any

import pytest
import yaml

from gateway.script import PATH as SCRIPT
from outbox.settings import PROJECT, Settings
from workers.main import CHANNELS, WEBHOOK

DEVELOPMENT: dict[str, Any] = yaml.safe_load((PROJECT / "compose.yml").read_text())
PRODUCTION: dict[str, Any] = yaml.safe_load((PROJECT / "compose.production.yml").read_text())
FILES = {"development": DEVELOPMENT, "production": PRODUCTION}
OURS = re.compile(r"(api|relay|gateway|worker)-\w+")
SERVICES = [(file, name) for file, read in FILES.items() for name in read["services"]]
LASTING = [(file, name) for file, name in SERVICES if name != "migrate"]


def of(file: str, name: str) -> dict[str, Any]:
    service: dict[str, Any] = FILES[file]["services"][name]
    return service


def ours(file: str) -> dict[str, list[str]]:
    """Each process of ours and its command."""
    return {name: each["command"] for name, each in FILES[file]["services"].items() if OURS.fullmatch(name)}


def test_both_run_the_same_processes() -> None:
    assert ours("development") == ours("production")
    assert {name for name in ours("production") if not name.startswith("worker")} == {
        *("api-1", "api-2", "relay-1", "relay-2", "gateway-1", "gateway-2")
    }


def test_each_channel_has_one_worker_and_those_added_later_have_another() -> None:
    commands = [words[1:] for name, words in ours("production").items() if name.startswith("worker-")]
    channels = {*CHANNELS, WEBHOOK}
    assert {word for words in commands for word in words if not word.startswith("--")} == channels
    assert {f"--except={name}" for name in channels} in [set(words) for words in commands]


@pytest.mark.parametrize(("file", "name"), LASTING)
def test_every_container_has_its_limits(file: str, name: str) -> None:
    service = of(file, name)
    assert service["restart"] == "unless-stopped"
    assert {"mem_limit", "cpus", "pids_limit"} <= service.keys()
    assert {"max-size", "max-file"} <= service["logging"]["options"].keys()
    checked = "healthcheck" in service or str(service["image"]).startswith(("outbox:", "${OUTBOX_IMAGE"))
    assert checked, "nobody knows when it is healthy"


@pytest.mark.parametrize(("file", "name"), SERVICES)
def test_what_is_ours_runs_with_the_least_rights(file: str, name: str) -> None:
    service = of(file, name)
    if file == "development" and name in {"postgres", "redis"}:
        return  # the images' own ways
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_production_has_no_doubles_and_nothing_of_development() -> None:
    assert not {"mailsink", "providers"} & PRODUCTION["services"].keys()
    text = (PROJECT / "compose.production.yml").read_text()
    assert "--with-demo" not in text
    assert "LOCAL" not in text
    assert of("production", "api-1")["environment"]["OUTBOX_ENV"] == "production"


def test_production_publishes_the_front_alone() -> None:
    published = {name: each["ports"] for name, each in PRODUCTION["services"].items() if "ports" in each}
    outside = {name for name, ports in published.items() if not all("127.0.0.1" in port for port in ports)}
    assert outside == {"front"}
    assert all(
        "127.0.0.1" in port for each in DEVELOPMENT["services"].values() for port in each.get("ports", [])
    )


@pytest.mark.parametrize("name", sorted(PRODUCTION["services"]))
def test_no_secret_is_in_an_environment_of_production(name: str) -> None:
    for variable in of("production", name).get("environment", {}):
        secret = re.search(r"PASSWORD|SECRET|_URL", variable)
        assert not secret or variable.endswith("_FILE"), variable


def test_only_migrate_gets_the_owners_login() -> None:
    holders = {
        name
        for name, each in PRODUCTION["services"].items()
        if "migrate_database_url" in each.get("secrets", ())
    }
    assert holders == {"migrate"}


def test_every_variable_is_a_setting() -> None:
    settings = Settings.variables()
    for file in FILES:
        for name in (*ours(file), "migrate"):
            names = {each.removesuffix("_FILE") for each in of(file, name)["environment"]}
            assert names <= {*settings, "SMTP_URL"}, name


@pytest.mark.parametrize(
    ("path", "gateway"),
    [
        ("/v1/ws", True),
        ("/v1/events", True),
        (SCRIPT, True),
        ("/", True),
        ("/page/page.js", True),
        ("/v1/notifications", False),
        ("/v1/users/ws/inbox", False),
        ("/v1/wsx", False),
        ("/docs", False),
        ("/readyz", False),
    ],
)
def test_the_front_sends_to_the_gateway_what_is_the_gateways(path: str, gateway: bool) -> None:
    text = (PROJECT / "deploy" / "nginx" / "routes.conf").read_text()
    pattern = re.search(r"location ~ (\S+) \{", text)
    assert pattern
    assert bool(re.search(pattern[1], path)) is gateway
