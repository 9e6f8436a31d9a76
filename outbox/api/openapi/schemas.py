"""The models of the contracts as schemas of the document, each under a name that says whose it is."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from openapi_pydantic import Reference, Schema
from pydantic import BaseModel
from pydantic.json_schema import CoreModeRef, DefsRef, GenerateJsonSchema, models_json_schema

PLACE = "#/components/schemas/"
OURS = "outbox.api."


class Named(GenerateJsonSchema):
    """Many modules have a model `Shown`; that of channels becomes `ChannelsShown`, whatever else there is."""

    def get_defs_ref(self, core_mode_ref: CoreModeRef) -> DefsRef:
        ref = super().get_defs_ref(core_mode_ref)
        if (name := full_name(core_mode_ref[0])) is not None:
            self._prioritized_defsref_choices[ref].insert(0, DefsRef(name))
        return ref

    def field_title_should_be_set(
        self, schema: Any
    ) -> bool:  # "Event Type" says nothing that event_type does not
        return False


def full_name(core_ref: str) -> str | None:
    """`outbox.api.dead_letters.Shown:94…` is DeadLettersShown."""
    if not core_ref.startswith(OURS):
        return None
    *_, module, name = core_ref.partition(":")[0].split(".")
    words = "".join(word.capitalize() for word in module.split("_"))
    return name if name.startswith(words.removesuffix("s")) else words + name


@dataclass(frozen=True, slots=True)
class Schemas:
    """The schemas, and the name of each model that they were made from."""

    names: Mapping[type[BaseModel], str]
    definitions: Mapping[str, dict[str, Any]]

    def reference(self, model: type[BaseModel]) -> Reference:
        return Reference.model_validate({"$ref": PLACE + self.names[model]})

    def properties(self, model: type[BaseModel]) -> tuple[Mapping[str, Any], frozenset[str]]:
        """Those of a model that is no body but a set of parameters, and which of them are required."""
        definition = self.definitions[self.names[model]]
        return definition.get("properties", {}), frozenset(definition.get("required", ()))

    def components(self, without: Iterable[type[BaseModel]]) -> dict[str, Reference | Schema]:
        """All but the models of parameters, which stand with their operations, unless a body has them, too."""
        hidden = {self.names[model] for model in without}
        shown = {name: each for name, each in self.definitions.items() if name not in hidden}
        written = json.dumps(shown)
        shown |= {name: self.definitions[name] for name in hidden if f'"{PLACE}{name}"' in written}
        return {name: Schema.model_validate(shown[name]) for name in sorted(shown)}


def schemas_of(models: Iterable[type[BaseModel]]) -> Schemas:
    """As they are read, not as they are written: what has a default may be left out."""
    wanted = sorted(set(models), key=lambda model: (model.__module__, model.__qualname__))
    found, document = models_json_schema(
        [(model, "validation") for model in wanted],
        ref_template=PLACE + "{model}",
        schema_generator=Named,
    )
    names = {model: found[(model, "validation")]["$ref"].removeprefix(PLACE) for model in wanted}
    return Schemas(names, document["$defs"])


def nothing_null(schema: dict[str, Any]) -> None:
    """For a model whose None says that a field was left out: null is refused."""
    schema["properties"] = {name: not_null(each) for name, each in schema["properties"].items()}


def not_null(schema: dict[str, Any]) -> dict[str, Any]:
    """None is said by leaving it out."""
    kinds: list[dict[str, Any]] = [kind for kind in schema.get("anyOf", []) if kind.get("type") != "null"]
    rest = {key: value for key, value in schema.items() if key not in {"anyOf", "default"}}
    given = {} if schema.get("default") is None else {"default": schema["default"]}
    match kinds:
        case []:
            return rest | given
        case [one]:
            return one | rest | given
        case _:
            return {"anyOf": kinds} | rest | given
