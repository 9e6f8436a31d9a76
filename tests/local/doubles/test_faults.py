"""A double's faults, as an HTTP client meets them."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from outbox.local.doubles.faults import Kind
from outbox.local.doubles.received import Received
from outbox.local.doubles.serving import Double, running


def taking_all() -> Double:
    async def take(request: Request) -> Response:
        text = (await request.body()).decode()
        await simple.box.add(Received("simple", str(simple.box.total), "to", "title", text, {}))
        return JSONResponse({"taken": text}, 202)

    simple = Double("simple", [Route("/send", take, methods=["POST"])])
    return simple


@pytest.fixture
async def double() -> AsyncIterator[Double]:
    async with running(taking_all()) as double:
        yield double


@pytest.fixture
async def client(double: Double) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=double.url, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture
async def impatient(double: Double) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=double.url, timeout=2, trust_env=False) as client:
        yield client


async def test_without_faults(double: Double, client: httpx.AsyncClient) -> None:
    assert (await client.post("/send", content="a")).json() == {"taken": "a"}
    [message] = await double.box.wait(1)
    assert message.text == "a"
    shown = (await client.get("/_double/received")).json()
    assert (shown["total"], shown["messages"][0]["text"]) == (1, "a")


async def test_another_answer_once(double: Double, client: httpx.AsyncClient) -> None:
    double.menu.order(Kind.ANSWER, status=429, headers={"Retry-After": "7"}, body={"error": "slow down"})
    refused = await client.post("/send", content="a")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "7")
    assert refused.json() == {"error": "slow down"}
    assert (await client.post("/send", content="b")).status_code == 202
    assert [message.text for message in double.box.messages] == ["b"]


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (Kind.HANG, httpx.ReadTimeout),
        (Kind.RESET, httpx.ReadError),
        (Kind.REFUSED, httpx.NetworkError),
        (Kind.SILENT, httpx.ReadTimeout),
        (Kind.GARBAGE, httpx.RemoteProtocolError),
    ],
)
async def test_no_answer(
    double: Double,
    client: httpx.AsyncClient,
    impatient: httpx.AsyncClient,
    kind: Kind,
    error: type[Exception],
) -> None:
    double.menu.order(kind)
    with pytest.raises(error):
        await impatient.post("/send", content="lost")
    assert double.box.total == 0
    assert (await client.post("/send", content="next")).status_code == 202


@pytest.mark.parametrize("kind", [Kind.HANG, Kind.RESET])
async def test_taken_without_an_answer(double: Double, impatient: httpx.AsyncClient, kind: Kind) -> None:
    double.menu.order(kind, taken=True)
    with pytest.raises(httpx.TransportError):
        await impatient.post("/send", content="taken")
    assert [message.text for message in await double.box.wait(1)] == ["taken"]


async def test_slow_and_malformed(double: Double, client: httpx.AsyncClient) -> None:
    double.menu.order(Kind.SLOW, seconds=0.1)
    began = asyncio.get_running_loop().time()
    assert (await client.post("/send", content="late")).status_code == 202
    assert asyncio.get_running_loop().time() - began >= 0.1
    double.menu.order(Kind.MALFORMED)
    answer = await client.post("/send", content="odd")
    with pytest.raises(ValueError, match="Expecting"):
        answer.json()


async def test_a_share_of_requests(double: Double, client: httpx.AsyncClient) -> None:
    chances = iter([0.05, 0.5, 0.05, 0.99])
    double.menu.chance = lambda: next(chances)
    double.menu.order(Kind.ANSWER, times=None, share=0.1)
    answers = [(await client.post("/send", content="x")).status_code for _ in range(4)]
    assert answers == [503, 202, 503, 202]


async def test_orders_by_http(double: Double, client: httpx.AsyncClient) -> None:
    orders = [{"kind": "answer", "status": 500, "times": None}]
    assert (await client.put("/_double/faults", json=orders)).json() == {"faults": 1}
    assert (await client.post("/send")).status_code == 500
    assert (await client.put("/_double/faults", json=[{"kind": "nonsense"}])).status_code == 422
    await client.put("/_double/faults", json=[])
    assert (await client.post("/send")).status_code == 202


async def test_away_refuses_new_connections_and_comes_back_on_its_port(double: Double) -> None:
    leaving = asyncio.create_task(double.front.away(0.2))
    await asyncio.sleep(0)
    async with httpx.AsyncClient(base_url=double.url, trust_env=False) as client:
        with pytest.raises(httpx.ConnectError):
            await client.post("/send", content="a")
        await leaving
        assert (await client.post("/send", content="b")).json() == {"taken": "b"}
