"""compose.production.yml as docs/operating.md says: secrets as files, https, stores beside it, a restart one by one."""

import json
import ssl
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from outbox.local.ports import any_free
from outbox.settings import Settings
from outbox.tokens import Scope, issue
from tests.docker.conftest import run

pytestmark = pytest.mark.timeout(2400)
PROJECT_NAME = "outbox-production-test"
HOST = "notify.example.com"
COMPOSE = ("docker", "compose", "--project-name", PROJECT_NAME, "--file", "compose.production.yml")


class Production:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        http, https = any_free(), any_free(())
        self.https = https
        self.environment = {"HTTP_PORT": str(http), "HTTPS_PORT": str(https)}
        self.environment |= {
            "COMPOSE_PROFILES": "stores",
            "OUTBOX_IMAGE": "outbox-test",
            "OUTBOX_VERSION": "1",
        }

    def compose(self, *words: str, check: bool = True) -> str:
        return run(*COMPOSE, *words, cwd=self.folder, env=self.environment, check=check).stdout

    def prepare(self) -> None:
        run("deploy/make-secrets.sh", cwd=self.folder)
        subject = ("-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}")
        keys = ("-keyout", "secrets/tls_key", "-out", "secrets/tls_certificate")
        run(
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            *subject,
            *keys,
            cwd=self.folder,
        )
        for name in ("tls_key", "tls_certificate"):
            (self.folder / "secrets" / name).chmod(0o444)
        (self.folder / ".env").write_text(f"OUTBOX_API_URL=https://{HOST}\n")

    def client(self) -> httpx.Client:
        """Of a producer, who believes this certificate alone."""
        secret = (self.folder / "secrets" / "jwt_secret").read_text()
        settings = Settings.model_validate(
            {"DATABASE_URL": "postgresql://a:b@c/d", "REDIS_URL": "redis://c", "jwt_secret": secret}
        )
        token = issue(settings, "shop", Scope.PRODUCER, timedelta(hours=1))
        context = ssl.create_default_context(cafile=str(self.folder / "secrets" / "tls_certificate"))
        return httpx.Client(
            base_url=f"https://127.0.0.1:{self.https}",
            headers={"authorization": f"Bearer {token}", "host": HOST},
            verify=context,
            trust_env=False,
        )

    def send(self, client: httpx.Client) -> str:
        body = {"event_type": "order.paid", "user_id": "alice", "payload": {"title": "Paid"}}
        answer = client.post("/v1/notifications", json=body, extensions={"sni_hostname": HOST})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])


@pytest.fixture(scope="module")
def production(clone: Path) -> Iterator[Production]:
    made = Production(clone)
    made.prepare()
    try:
        made.compose("build", "--quiet", "migrate")
        made.compose("up", "--detach", "--wait")
        yield made
    finally:
        made.compose("down", "--volumes", "--timeout", "5", check=False)


def delivered(production: Production, notification: str) -> bool:
    sql = f"SELECT count(*) FROM notify.deliveries WHERE notification_id = '{notification}' AND status = 'delivered'"
    words = ("exec", "-T", "postgres", "psql", "-U", "postgres", "-d", "outbox", "-tAc", sql)
    return production.compose(*words).strip() == "1"


def eventually_delivered(production: Production, notification: str) -> bool:
    """Each look takes a process, which is pause enough."""
    return any(delivered(production, notification) for _ in range(60))


def test_a_notification_goes_through_by_https(production: Production) -> None:
    with production.client() as client:
        assert eventually_delivered(production, production.send(client))


def test_plain_http_leads_to_https_and_figures_stay_inside(production: Production) -> None:
    plain = httpx.get(
        f"http://127.0.0.1:{production.environment['HTTP_PORT']}/v1/notifications", trust_env=False
    )
    assert (plain.status_code, plain.headers["location"][:8]) == (301, "https://")
    with production.client() as client:
        sni = {"sni_hostname": HOST}
        assert client.get("/metrics", extensions=sni).status_code == 404
        assert client.get("/", extensions=sni).status_code == 404  # the page is for development


def test_no_secret_is_to_be_seen_from_outside(production: Production) -> None:
    ids = production.compose("ps", "--all", "--quiet").split()
    known = run("docker", "inspect", *ids).stdout
    secrets = production.folder / "secrets"
    for path in secrets.iterdir():
        assert path.read_text().strip() not in known, path.name
    assert "DATABASE_URL_FILE" in known
    assert json.loads(known)


def test_one_by_one_all_are_replaced_and_nothing_is_lost(production: Production) -> None:
    before = set(production.compose("ps", "--quiet").split())
    run("deploy/rolling-restart.sh", *COMPOSE[2:], cwd=production.folder, env=production.environment)
    after = set(production.compose("ps", "--quiet").split())
    assert len(before & after) == 3  # front, postgres, redis
    assert len(after) == len(before)
    with production.client() as client:
        assert eventually_delivered(production, production.send(client))
