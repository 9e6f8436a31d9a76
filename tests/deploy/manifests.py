"""Manifests as tests look at them: their pods, their environment, and whether they keep to their schemas."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import typer.main
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from outbox.cli import app
from outbox.settings import Settings

Manifest = dict[str, Any]
SCHEMAS = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
CRDS = {path.stem: json.loads(path.read_text()) for path in (Path(__file__).parent / "crds").glob("*.json")}
# What a channel's config, or a part of a deployment that is not ours, names: no setting of ours.
OTHERS = {"SMTP_URL", "REDIS_PASSWORD", "TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "SENDGRID_API_KEY"}


def refuse_odd(manifest: Manifest, version: str) -> None:
    """Raises what is wrong with it, for Kubernetes of this version or by the custom resource's own schema."""
    if manifest["kind"] in CRDS:
        Draft202012Validator(CRDS[manifest["kind"]]).validate(manifest)
    else:
        schema_of(manifest["kind"], manifest["apiVersion"], version).validate(manifest)


@cache
def schema_of(kind: str, api: str, version: str) -> Draft202012Validator:
    """The strict one: a field that Kubernetes does not know is refused. kubernetes_validate reads it anew each time."""
    group, _, number = api.rpartition("/")
    name = "-".join(part for part in (kind.lower(), group.partition(".")[0], number) if part)
    schema = json.loads((SCHEMAS / f"v{version}.0-local-strict" / f"{name}.json").read_text())
    return Draft202012Validator(schema, registry=definitions(version))


@cache
def definitions(version: str) -> Registry[Any]:
    shared = json.loads((SCHEMAS / f"v{version}.0-local-strict" / "_definitions.json").read_text())
    found: Registry[Any] = Registry().with_resource(shared["$id"], Resource.from_contents(shared))
    return found


def name_of(manifest: Manifest) -> str:
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def of_kind(made: list[Manifest], *kinds: str) -> list[Manifest]:
    return [manifest for manifest in made if manifest["kind"] in kinds]


def pods(made: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """The pod's template of everything that runs something, by the name of that."""
    for manifest in of_kind(made, "Deployment", "Job"):
        yield name_of(manifest), manifest["spec"]["template"]


def container(template: Manifest) -> Manifest:
    (only,) = template["spec"]["containers"]
    return dict(only)


def matches(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return selector.items() <= labels.items()


def settings_names() -> set[str]:
    """Every variable that Settings reads."""
    return {
        str(field.validation_alias or f"OUTBOX_{name.upper()}")
        for name, field in Settings.model_fields.items()
    }


def refuse_unknown_command(words: Sequence[str]) -> None:
    """Raises KeyError, or click's error, where `outbox <words>` is no command. Nothing is run."""
    name, *rest = words
    commands: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # it is a group
    commands[name].make_context(name, rest)
