"""The part of DigitalOcean's app specification that deploy/digitalocean/app.yaml uses. No schema of it is published;
names, kinds and bounds are those of its own Go client (digitalocean/godo, apps.gen.go at 3fce660c)."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}[a-z0-9]$")]
Instances = Annotated[int, Field(ge=1, le=250)]
Size = Annotated[str, Field(pattern=r"^apps-[sd]-[1-9]vcpu-(0\.5|[1-9][0-9]?)gb$")]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Variable(Part):
    key: Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]*$")]
    value: str
    type: Literal["GENERAL", "SECRET"] = "GENERAL"


class Image(Part):
    registry_type: Literal["DOCR", "DOCKER_HUB", "GHCR"]
    repository: str
    tag: str


class Health(Part):
    http_path: str
    port: PositiveInt | None = None
    period_seconds: Annotated[int, Field(ge=1, le=300)]
    timeout_seconds: Annotated[int, Field(ge=1, le=120)]
    failure_threshold: Annotated[int, Field(ge=1, le=50)]


class Termination(Part):
    grace_period_seconds: Annotated[int, Field(ge=1, le=600)]


class ServiceTermination(Termination):
    drain_seconds: Annotated[int, Field(ge=1, le=110)]


class Percent(Part):
    percent: Annotated[int, Field(ge=1, le=100)]


class Metrics(Part):
    cpu: Percent


class Autoscaling(Part):
    min_instance_count: Instances
    max_instance_count: Instances
    metrics: Metrics


class Component(Part):
    name: Name
    image: Image
    run_command: str
    instance_size_slug: Size
    instance_count: Instances | None = None
    envs: list[Variable] = []


class Job(Component):
    kind: Literal["PRE_DEPLOY", "POST_DEPLOY", "FAILED_DEPLOY"]


class Worker(Component):
    liveness_health_check: Health
    termination: Termination


class Service(Component):
    http_port: PositiveInt
    autoscaling: Autoscaling | None = None
    health_check: Health
    liveness_health_check: Health
    termination: ServiceTermination


class Database(Part):
    name: Name
    engine: Literal["PG", "VALKEY"]
    production: bool
    cluster_name: str
    db_name: str | None = None
    db_user: str | None = None


class Prefix(Part):
    prefix: str


class Match(Part):
    path: Prefix


class Target(Part):
    name: Name
    preserve_path_prefix: bool


class Rule(Part):
    match: Match
    component: Target


class Ingress(Part):
    rules: list[Rule]


class Alert(Part):
    rule: Literal["DEPLOYMENT_FAILED", "DOMAIN_FAILED"]


class App(Part):
    name: Name
    region: Annotated[str, Field(pattern=r"^[a-z]{3}$")]
    databases: list[Database]
    envs: list[Variable]
    jobs: list[Job]
    services: list[Service]
    workers: list[Worker]
    ingress: Ingress
    disable_edge_cache: bool
    alerts: list[Alert]
