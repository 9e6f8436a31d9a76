"""What /v1/templates takes and answers: its models and contracts."""

from typing import Annotated, Any, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from db.templates import Draft, Template
from outbox.api.contract import Contract
from outbox.api.notifications import LOCATION, Linked
from outbox.envelope import (
    PRINTABLE,
    ChannelName,
    Name,
    Printable,
    printable,
    storable,
    storable_text,
)
from outbox.tokens import Scope

SOURCE_CHARACTERS = 65_536
NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$"
LOCALE = r"^([A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*)?$"

Source = Annotated[str, Field(max_length=SOURCE_CHARACTERS), AfterValidator(storable_text)]
Line = Annotated[
    str,
    Field(max_length=SOURCE_CHARACTERS, json_schema_extra={"pattern": PRINTABLE}),
    AfterValidator(printable),
]
Payload = Annotated[dict[str, Any], AfterValidator(storable)]


class Sources(BaseModel):
    """What a version is made of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: Line = ""
    body_text: Source = ""
    body_html: Source = ""

    def template(self, name: str) -> Template:
        return Template("", name, 0, self.subject, self.body_text, self.body_html)


class Trial(BaseModel):
    """A payload to render with, and for whom."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    payload: Payload = {}
    event_type: str = "template.preview"
    user_id: str = "alice"
    actor_user_id: str | None = None
    locale: Annotated[str, Field(pattern=LOCALE)] = ""
    draft: Sources | None = Field(None, description="Sources to try instead of the version in force.")


class TestSend(BaseModel):
    """Whom to send it to: a user, or an address that need not be anybody's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    user_id: Name | None = None
    address: Annotated[Printable, Field(max_length=320)] | None = Field(
        None, description="By e-mail and SMS only. It is kept for an hour, in the query's language."
    )
    payload: Payload = {}

    @model_validator(mode="after")
    def one_of_both(self) -> Self:
        if (self.user_id is None) == (self.address is None):
            raise ValueError("give either user_id or address")
        return self


class Listing(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    channel: ChannelName | None = None


class Language(BaseModel):
    """`locale` '' serves every language that has no template of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    locale: Annotated[str, Field(pattern=LOCALE)] = ""


class Named(BaseModel):
    """Where a template stands, by its path."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    channel: ChannelName
    name: Annotated[str, Field(pattern=NAME)]


class Place(Named, Language):
    def draft(self) -> Draft:
        return Draft(self.channel, self.name, self.locale)


class Shown(BaseModel):
    """A version."""

    channel: str
    name: str
    locale: str
    version: int
    subject: str
    body_text: str
    body_html: str
    created_at: AwareDatetime


class Listed(BaseModel):
    templates: list[Shown]


class Versions(BaseModel):
    versions: list[Shown]


class InForce(BaseModel):
    """Which version is in force now."""

    channel: str
    name: str
    locale: str
    version: int


class Previewed(BaseModel):
    """The parts as they would be sent."""

    subject: str
    text: str
    html: str


ADMIN = (Scope.ADMIN,)
SAME = {name: f"$response.body#/{name}" for name in ("channel", "name", "locale")}
ETAG = {"ETag": "The number of the version in force, for If-Match."}
LIST = Contract("list_templates", "List templates", {200: Listed}, ADMIN, query=Listing)
SHOW = Contract(
    *("show_template", "Show a template's versions", {200: Versions}, ADMIN),
    path=Named,
    query=Language,
    problems=(404,),
    sends=ETAG,
)
PUBLISH = Contract(
    *("publish_template", "Publish a template's version", {200: InForce, 201: InForce}, ADMIN),
    path=Named,
    query=Language,
    body=Sources,
    headers={
        "If-Match": "The ETag of the version that this one is to follow; without it, whatever is there.",
        "If-None-Match": "* to publish a first version only.",
    },
    problems=(409, 412),
    sends=ETAG,
    links={"show_template": SAME, "preview_template": SAME},
)
PREVIEW = Contract(
    *("preview_template", "Render a template with a payload", {200: Previewed}, ADMIN),
    audited=False,  # it changes nothing
    path=Named,
    query=Language,
    body=Trial,
    problems=(404,),
)
TEST = Contract(
    *("test_template", "Send a template to one person", {202: Linked}, ADMIN),
    path=Named,
    query=Language,
    body=TestSend,
    problems=(404,),
    sends=LOCATION,
)
