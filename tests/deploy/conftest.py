"""What the chart makes of its own files of values, rendered once by the real helm."""

from functools import cache

import pytest

from tests.deploy.helm import rendered, with_values
from tests.deploy.manifests import Manifest

CASES = {
    "small": with_values("small"),
    "production": with_values("production"),
    "cluster": [
        *with_values("production"),
        *("--set", "keda.redis.cluster=true", "--set", "keda.redis.tls=true"),
        *("--set", r"keda.redis.address=a:6379\,b:6379", "--set", "keda.redis.prefix=shop:"),
        *("--set", "workers.email.scale.shards=4", "--set", "networkPolicy.storesAt[0].ipBlock.cidr=10.9.0.0/16"),
        *("--set", "image.digest=sha256:" + 64 * "a", "--set", "imagePullSecrets[0].name=pull"),
        *("--set", "serviceAccountName=outbox", "--set", "nodeSelector.pool=mail", "--set", "priorityClassName=high"),
        *("--set", "settings.OUTBOX_SHUTDOWN_GRACE=40", "--set", "tolerations[0].operator=Exists"),
        *("--set", "extraVolumes[0].name=keys", "--set", "extraVolumes[0].secret.secretName=keys"),
        *("--set", "extraVolumeMounts[0].name=keys", "--set", "extraVolumeMounts[0].mountPath=/etc/outbox"),
    ],
}  # fmt: skip


@cache
def case(name: str) -> list[Manifest]:
    return rendered(*CASES[name])


@pytest.fixture(params=sorted(CASES))
def made(request: pytest.FixtureRequest) -> list[Manifest]:
    return case(request.param)


@pytest.fixture
def production() -> list[Manifest]:
    return case("production")


@pytest.fixture
def cluster() -> list[Manifest]:
    return case("cluster")
