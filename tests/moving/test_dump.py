"""A database dumped from one cluster and restored in another, whose transaction ids are far lower."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from db import migrations
from db import rebase as sql
from outbox.cli import rebase_view
from outbox.nodes import Nodes
from outbox.settings import Settings
from relay.main import build
from relay.rebase import NotNowError, carry_out, plan
from relay.streams import Streams
from tests.moving.conftest import ARRIVED, Move, audit, connected, eventually, ids, produce, running, tool

LEADS = "INSERT INTO notify.relay_lease VALUES ('relay', 'here-1', 1, now() + interval '1 minute')"


async def filled(move: Move) -> set[UUID]:
    """Some delivered, some in the stream, some that no tick holds."""
    await asyncio.to_thread(migrations.upgrade, move.old)
    settings = move.at(move.old)
    async with connected(move.old) as conn:
        async with running(settings):
            committed = await produce(conn, 60)
            await eventually(conn, lambda found: len(found) == 60)
        async with running(settings, working=False):
            committed |= await produce(conn, 30)
            await eventually(
                conn,
                lambda found: len(found) >= 90,
                "SELECT generate_series(1, coalesce(sum(rows), 0)) FROM notify.relay_ticks",
            )
        return committed | await produce(conn, 10)


async def moved(move: Move, folder: Path) -> set[UUID]:
    committed = await filled(move)
    dump = str(folder / "dump")
    await asyncio.to_thread(tool, "pg_dump", "-Fc", "-n", "notify", "-f", dump, move.old)
    await asyncio.to_thread(tool, "pg_restore", "--no-owner", "-d", move.new, dump)
    return committed


async def rebase(settings: Settings, **how: bool) -> None:
    await rebase_view.run(settings, **{"dry_run": False, "sure": True} | how)


async def test_without_a_rebase_the_relay_refuses_and_says_what_to_do(
    move: Move, tmp_path: Path, nodes: Nodes
) -> None:
    await moved(move, tmp_path)
    relay = build(move.at(move.new), nodes)
    with pytest.raises(Exception, match="outbox relay rebase"):
        await relay.step()
    assert "outbox relay rebase" in (relay.check() or "")
    await relay.stop()


async def test_it_refuses_even_when_the_transaction_ids_have_caught_up(
    move: Move, tmp_path: Path, nodes: Nodes
) -> None:
    """What was committed here meanwhile would never look new."""
    await moved(move, tmp_path)
    async with connected(move.new) as conn:
        await produce(conn, 3)
        xmax = (await sql.history(conn)).tick_xmax or 0
        now = (await sql.history(conn)).xmax
        await conn.execute(
            f"DO $$ BEGIN FOR i IN 1..{xmax - now + 100} LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$"
        )
        history = await sql.history(conn)
        assert history.xmax > xmax
        assert "passed over" in (history.foreign or "")
    relay = build(move.at(move.new), nodes)
    with pytest.raises(Exception, match="outbox relay rebase"):
        await relay.step()
    await relay.stop()


async def test_after_a_rebase_nothing_is_lost_and_nothing_comes_twice(
    move: Move, tmp_path: Path, redis: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    committed = await moved(move, tmp_path)
    settings = move.at(move.new)
    await rebase(settings, dry_run=True)
    told = capsys.readouterr().out
    assert "40  open rows" in told
    assert "60  settled rows" in told
    await rebase(settings)
    assert "40 open rows are new here, 60 settled ones are gone" in capsys.readouterr().out
    async with connected(move.new) as conn:
        async with running(settings):
            committed |= await produce(conn, 20)
            await eventually(conn, lambda found: set(found) >= committed)
        await audit(conn, committed)
    stream = await redis.xinfo_stream(settings.keys.stream("inapp"))
    assert stream["entries-added"] == 60  # what was open, and what came after: no row's entry twice
    await rebase(settings)
    assert "nothing to do" in capsys.readouterr().out


async def test_cut_short_it_is_run_again(move: Move, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the open rows were made new ones, and after all of it but the sequence."""
    committed = await moved(move, tmp_path)
    settings = move.at(move.new)

    async def dies(*_: object) -> None:
        raise ConnectionResetError

    for step in ("changed", "raise_sequence"):
        with monkeypatch.context() as broken:
            broken.setattr(sql, step, dies)
            with pytest.raises(ConnectionResetError):
                await rebase(settings)
    await rebase(settings)
    async with connected(move.new) as conn, running(settings):
        await eventually(conn, lambda found: set(found) >= committed)
        await audit(conn, committed)


async def test_it_does_not_run_while_a_relay_leads(move: Move, tmp_path: Path, nodes: Nodes) -> None:
    await moved(move, tmp_path)
    settings = move.at(move.new)
    async with connected(move.new) as conn:
        before = await sql.history(conn)
        await conn.execute("DELETE FROM notify.relay_lease")
        planned = await plan(conn, Streams(nodes), settings.keys)
        await conn.execute(LEADS)
        with pytest.raises(NotNowError, match="here-1 leads"):
            await carry_out(conn, Streams(nodes), await plan(conn, Streams(nodes), settings.keys))
        with pytest.raises(NotNowError, match="took the lead"):  # since it was looked
            await carry_out(conn, Streams(nodes), planned)
        assert (await sql.history(conn)).tick == before.tick


async def test_in_the_database_where_it_was_written_there_is_nothing_to_do(
    move: Move, capsys: pytest.CaptureFixture[str]
) -> None:
    await filled(move)
    await rebase(move.at(move.old))
    assert "nothing to do" in capsys.readouterr().out
    async with connected(move.old) as conn:
        assert len(await ids(conn, ARRIVED)) == 60
