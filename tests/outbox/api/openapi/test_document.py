"""The document is the code's: every route is in it, under a name of its own, with all that its contract says."""

import re
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from db.pool import Pool
from outbox.api.app import create_app
from outbox.api.contract import Endpoint
from outbox.local.doubles.sendgrid_events import Signer
from outbox.probes import Health
from outbox.settings import Settings
from tests.outbox.api.promises import endpoints

PROBES = {"/healthz", "/readyz", "/metrics"}


@pytest.fixture
def app(settings: Settings, pool: Pool) -> Starlette:
    """With every route that there can be."""
    keyed = settings.model_copy(update={"sendgrid_webhook_keys": [Signer().verification_key]})
    return create_app(keyed, pool, Health())


@pytest.fixture
async def document(app: Starlette) -> Any:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as client:
        return (await client.get("/openapi.json")).json()


def operations(document: Any) -> dict[str, Any]:
    return {
        operation["operationId"]: operation | {"path": path, "method": method.upper()}
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def test_every_route_has_a_contract(app: Starlette) -> None:
    others = [route for route in app.routes if not isinstance(route, Endpoint)]
    assert {getattr(route, "path", None) for route in others} == PROBES, "declare it as an Endpoint"


def test_every_contract_is_told(app: Starlette, document: Any) -> None:
    every = endpoints(app)
    told = operations(document)
    assert len({one.contract.id for one in every}) == len(every), "each has an operationId of its own"
    assert set(told) == {one.contract.id for one in every}
    for one in every:
        operation = told[one.contract.id]
        assert operation["method"] == one.method
        assert operation["summary"] == one.contract.summary
        assert operation.get("x-required-scopes", []) == sorted(one.contract.scopes)
        assert {scope for each in operation.get("security", []) for scope in each["bearer"]} == set(
            one.contract.scopes
        )
        assert set(map(str, one.contract.answers)) <= set(operation["responses"])


def test_what_is_referred_to_is_there(document: Any) -> None:
    for place in re.findall(r'"\$ref": ?"#/([^"]+)"', repr(document).replace("'", '"')):
        part = document
        for word in place.split("/"):
            part = part[word]


def test_no_component_is_told_that_nothing_refers_to(document: Any) -> None:
    referred = set(re.findall(r"#/components/schemas/([\w.-]+)", repr(document)))
    assert set(document["components"]["schemas"]) == referred


def test_every_parameter_of_a_path_is_told(document: Any) -> None:
    for operation in operations(document).values():
        named = {each["name"] for each in operation.get("parameters", []) if each["in"] == "path"}
        assert named == set(re.findall(r"\{(\w+)\}", operation["path"])), operation["operationId"]


def test_a_change_without_if_match_is_no_valid_one(document: Any) -> None:
    told = operations(document)["change_channel"]
    [tag] = [each for each in told["parameters"] if each["name"] == "If-Match"]
    assert tag["required"]
    assert re.match(tag["schema"]["pattern"], '"3"')
    assert not re.match(tag["schema"]["pattern"], "3")


def test_links_lead_to_operations_and_name_their_parameters(app: Starlette, document: Any) -> None:
    told = operations(document)
    for one in endpoints(app):
        for operation, given in one.contract.links.items():
            assert set(given) <= {each["name"] for each in told[operation]["parameters"]}, one.contract.id


def test_names_say_whose_they_are(document: Any) -> None:
    schemas = document["components"]["schemas"]
    assert {"ChannelsShown", "DeadLettersShown", "Notification", "Problem"} <= set(schemas)
    assert not {name for name in schemas if "__" in name or name == "Shown"}
