"""Redis as a server: its version, what it keeps, and how much room it has. Each node of a cluster by itself."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from outbox.doctor.desk import Area, Check, Desk
from outbox.doctor.finding import Finding, fail, note, ok, warn
from outbox.doctor.words import size

OLDEST = (6, 2)  # tests run on 7.0 and later; 6.2 has every command that is used
Version = tuple[int, ...]
# The first releases of each line with a fix for CVE-2025-49844 (a script may take the server over; CVSS 10), and for
# 8.2 of CVE-2025-62507 (XACKDEL). Lines that are not here never got one.
FIXED: Mapping[str, Mapping[Version, Version]] = {
    "Redis": {
        (6, 2): (6, 2, 20),
        (7, 2): (7, 2, 11),
        (7, 4): (7, 4, 6),
        (8, 0): (8, 0, 4),
        (8, 2): (8, 2, 3),
    },
    "Valkey": {(7, 2): (7, 2, 11), (8, 0): (8, 0, 6), (8, 1): (8, 1, 4)},
}
HEADROOM_WARN, HEADROOM_FAIL = 0.8, 0.95


@dataclass(frozen=True, slots=True)
class Node:
    """INFO's fields, as Redis names them; `fsync`: appendfsync, None where CONFIG is not for this login."""

    name: str
    info: Mapping[str, Any]
    fsync: str | None

    @property
    def engine(self) -> str:
        return "Valkey" if "valkey_version" in self.info else "Redis"

    @property
    def version(self) -> str:
        return str(self.info.get("valkey_version") or self.info.get("redis_version", "0"))


async def nodes(desk: Desk) -> list[Node]:
    return [Node(name, await redis.info(), await fsync(redis)) for name, redis in await desk.nodes.each()]


async def fsync(redis: Redis) -> str | None:
    try:
        answer = await redis.config_get("appendfsync")
    except RedisError:  # not for this login, or renamed
        return None
    return next((word(value) for value in answer.values()), None)


def word(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def judge(found: Sequence[Node]) -> Iterator[Finding]:
    for each in found:
        yield from judge_node(each)


def judge_node(node: Node) -> Iterator[Finding]:
    yield version(node)
    yield from persistence(node)
    yield from room(node)
    if node.info["role"] != "master":
        yield fail(
            "redis.primary", f"{node.name} is a replica and takes no writes", "let REDIS_URL name the primary"
        )


def version(node: Node) -> Finding:
    text = f"{node.engine} {node.version}"
    number = parsed(node.version)
    if number[:2] < OLDEST:
        return fail("redis.version", f"{text} is not supported", "upgrade to Redis 7.2 or Valkey 8, or later")
    lines = FIXED[node.engine]
    first = lines.get(number[:2])
    if number[:2] > max(lines) or (first is not None and number >= first):
        return ok("redis.version", f"{node.name} is {text}")
    to = ".".join(map(str, first or max(lines.values())))
    return warn(
        "redis.version",
        f"{text}: a script can take the server over (CVE-2025-49844), unless your distribution has mended it",
        f"update to {node.engine} {to} or later; meanwhile let nobody but outbox run EVAL (ACL)",
    )


def parsed(text: str) -> Version:
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def persistence(node: Node) -> Iterator[Finding]:
    info = node.info
    broken = [key for key in ("aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status")
              if info.get(key, "ok") != "ok"]  # fmt: skip
    for key in broken:
        yield fail(
            "redis.persistence",
            f"{key} is {info[key]}: it cannot write to its disk",
            "see Redis' log; free the disk",
        )
    if not info.get("aof_enabled"):
        yield warn(
            "redis.aof",
            "append-only file is off: a restart empties the streams, and the relay puts them back from Postgres",
            "CONFIG SET appendonly yes, and appendonly yes in redis.conf",
        )
    elif node.fsync == "no":
        yield warn(
            "redis.aof",
            "appendfsync is no: a crash may lose half a minute, and the relay has as much to put back",
            "CONFIG SET appendfsync everysec, and the same in redis.conf",
        )
    elif not broken:
        yield ok("redis.aof", f"append-only file is on, fsync {node.fsync or 'not shown to this login'}")


def room(node: Node) -> Iterator[Finding]:
    info = node.info
    policy, most, used = (
        info.get("maxmemory_policy", "noeviction"),
        info.get("maxmemory", 0),
        info["used_memory"],
    )
    if policy != "noeviction":
        make = fail if most else warn
        yield make(
            "redis.eviction",
            f"maxmemory-policy is {policy}: under pressure Redis deletes streams",
            "CONFIG SET maxmemory-policy noeviction, and the same in redis.conf",
        )
    if info.get("evicted_keys"):
        yield warn("redis.eviction", f"{info['evicted_keys']:,} keys have been evicted", "raise maxmemory")
    yield headroom(used, most, info.get("total_system_memory", 0))


def headroom(used: int, most: int, machine: int) -> Finding:
    limit, whose = (most, "maxmemory") if most else (machine // 2, "half of the machine's memory")
    if not limit:
        return note("redis.memory", f"{size(used)} used; no limit is set", "CONFIG SET maxmemory …")
    share = used / limit
    what = f"{size(used)} used, {share:.0%} of {whose} ({size(limit)})"
    advice = "CONFIG SET maxmemory …, or let less wait: more workers, a lower OUTBOX_STREAM_MAX_LENGTH"
    if share >= HEADROOM_FAIL:
        return fail("redis.memory", f"{what}: the next entries will be refused", advice)
    return warn("redis.memory", what, advice) if share >= HEADROOM_WARN else ok("redis.memory", what)


async def cluster(desk: Desk) -> Mapping[str, Any] | None:
    """CLUSTER INFO as one node tells it; None where there is no cluster."""
    if not desk.nodes.is_cluster:
        return None
    async with desk.nodes.at(desk.settings.keys.stream("inapp")) as redis:
        answer: Any = await redis.execute_command("CLUSTER", "INFO")  # type: ignore[no-untyped-call]
    if isinstance(answer, Mapping):
        return answer
    text = answer.decode() if isinstance(answer, bytes) else str(answer)
    return dict(line.split(":", 1) for line in text.split() if ":" in line)


def judge_cluster(info: Mapping[str, Any] | None) -> Iterator[Finding]:
    if info is None:
        return
    state, good, failed = (
        info.get("cluster_state"),
        info.get("cluster_slots_ok"),
        info.get("cluster_slots_fail"),
    )
    if state != "ok" or str(failed) != "0":
        yield fail(
            "redis.cluster",
            f"cluster_state is {state}; {good} slots are served, {failed} are not",
            "redis-cli --cluster check HOST:PORT, then --cluster fix",
        )
    else:
        yield ok("redis.cluster", f"all {good} slots of {info.get('cluster_known_nodes')} nodes are served")


AREA = Area(
    "redis",
    frozenset({"redis"}),
    (Check("redis.nodes", nodes, judge), Check("redis.cluster", cluster, judge_cluster)),
)
