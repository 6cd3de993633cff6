"""What every table of a configuration is: values that are checked when it is made and never change."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import ConfigError
from .problems import config_problem


def _described(schema: dict[str, Any], model: type[BaseModel]) -> None:
    """Give every key of a JSON Schema what the docstring of its table says of it."""
    text, *said = re.split(r"\n\s*:param (\w+): ", f"{model.__doc__}\n")
    schema["description"] = _plain(text)
    for key, what in zip(said[::2], said[1::2], strict=True):
        schema["properties"][key]["description"] = _plain(what)


def _plain(text: str) -> str:
    """The first paragraph in one line, names between single backticks."""
    line = " ".join(text.partition("\n\n")[0].split())
    return re.sub(r":\w+:(`[^`]+`)", r"\1", line).replace("``", "`")


class Section(BaseModel):
    """A table of the configuration: unknown keys are refused, values cannot be changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, json_schema_extra=_described)

    def __init__(self, *unnamed: object, **values: Any) -> None:
        """Refuse what is wrong with a :class:`ConfigError` of one line, as a file with it is refused."""
        if unnamed:
            raise ConfigError(
                f"{self._called()} is made of keys by their names, not of a {type(unnamed[0]).__name__}. Write for "
                "example RunConfig(seed=1), or read a file with qpu_sdk.load_config(path)."
            )
        try:
            self.__pydantic_validator__.validate_python(values, self_instance=self)
        except ValidationError as error:
            raise ConfigError(f"{self._called()}: {config_problem(error, type(self))}") from None

    # Sections inside others are validated as usual, else a problem in one would not say where it is.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @classmethod
    def _called(cls) -> str:
        return "the configuration" if cls.__name__ == "RunConfig" else cls.__name__
