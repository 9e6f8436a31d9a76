"""The plans that Postgres really used, told by auto_explain on the connection that ran the statements."""

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from db.pool import Connection

Node = dict[str, Any]
AUTO_EXPLAIN = """
LOAD 'auto_explain';
SET auto_explain.log_min_duration = 0;
SET auto_explain.log_analyze = on;
SET auto_explain.log_buffers = on;
SET auto_explain.log_timing = off;
SET auto_explain.log_format = json;
SET client_min_messages = log;
"""
SCANS = {"Seq Scan", "Index Scan", "Index Only Scan", "Bitmap Heap Scan"}
PARTITION = re.compile(r"^outbox_(p\d+|default)_?")


@dataclass(frozen=True, slots=True)
class Plan:
    """One execution. `buffers` counts pages touched, in memory or not: a measure of work that does not depend on
    the machine."""

    root: Node

    @property
    def buffers(self) -> int:
        return int(self.root["Shared Hit Blocks"] + self.root["Shared Read Blocks"])

    def nodes(self) -> list[Node]:
        """Those that ran: what pruning at execution spared has no loops."""
        return [node for node in walk(self.root) if node["Actual Loops"]]

    @property
    def indexes(self) -> set[str]:
        """Those used; a partition's index under the name of the whole table's."""
        names = {node["Index Name"] for node in self.nodes() if "Index Name" in node}
        return {PARTITION.sub("outbox_", name) for name in names}

    @property
    def read_whole(self) -> set[str]:
        return {node["Relation Name"] for node in self.nodes() if node["Node Type"] == "Seq Scan"}

    @property
    def partitions(self) -> set[str]:
        tables = {node.get("Relation Name", "") for node in self.nodes()}
        return {table for table in tables if PARTITION.match(table)}

    @property
    def rows_read(self) -> int:
        """By all scans, before their filters."""
        return sum(
            int(node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)))
            for node in self.nodes()
            if node["Node Type"] in SCANS
        )

    @property
    def sorts(self) -> int:
        """Of everything. An incremental one only puts in order what one index key has in common."""
        return sum(node["Node Type"] == "Sort" for node in self.nodes())


def walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.get("Plans", []):
        yield from walk(child)


@dataclass(slots=True)
class Explained:
    """A connection that keeps the plan of everything that runs on it."""

    conn: Connection
    plans: list[Plan] = field(default_factory=list)

    @classmethod
    async def open(cls, admin_url: str, settings: dict[str, str]) -> "Explained":
        """As the owner, who alone may LOAD; rights do not change plans."""
        explained = cls(await asyncpg.connect(admin_url, server_settings=settings))
        explained.conn.add_log_listener(explained.on_log)
        await explained.conn.execute(AUTO_EXPLAIN)
        return explained

    def on_log(self, _: Any, message: Any) -> None:
        head, _, plan = message.message.partition("plan:\n")
        if head.startswith("duration:"):
            told = json.loads(plan)
            if "notify." in told["Query Text"]:  # not asyncpg's own look at the types
                self.plans.append(Plan(told["Plan"]))

    async def take(self) -> list[Plan]:
        """The plans since the last call."""
        await asyncio.sleep(0)  # log listeners are called by the loop
        plans, self.plans = self.plans, []
        return plans
