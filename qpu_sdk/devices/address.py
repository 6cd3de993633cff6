"""Device strings, KIND:NAME?option=value&option=value."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import final
from urllib.parse import unquote

from ..errors import ConfigError
from ..files import user_path
from ..words import short

#: Options that name files of this machine.
FILE_OPTIONS = ("record",)
#: Options that say where something is, and nothing about what it is.
PLACES = (*FILE_OPTIONS, "url")


@final
@dataclass(frozen=True)
class DeviceAddress:
    """A parsed device string.

    Only ``&`` and ``%`` have a meaning in options, and ``?`` in names: written ``%26``, ``%25`` and ``%3F`` they stand
    for themselves, as does every other character, percent-encoded or not.

    >>> DeviceAddress.parse("local:slos?transmittance=0.3")
    DeviceAddress(kind='local', name='slos', options={'transmittance': '0.3'})
    >>> str(DeviceAddress.parse("local:twin?record=my%20records/a+b, 100 %25.json"))
    'local:twin?record=my records/a+b, 100 %25.json'
    """

    kind: str
    name: str
    options: dict[str, str]

    @classmethod
    def parse(cls, text: str) -> DeviceAddress:
        """Split a device string; raises :class:`ConfigError` when it has no kind or a malformed option."""
        body, _, query = text.partition("?")
        kind, colon, name = body.partition(":")
        if not colon or not kind or not name or "\0" in unquote(text):
            raise ConfigError(f"device {short(text)} is not KIND:NAME. Use for example local:slos or replay:FILE.")
        parts = [part.partition("=") for part in query.split("&")] if query else []
        if not all(equals for _, equals, _ in parts):
            raise ConfigError(f"options of device {short(text)} are not option=value&option=value.")
        options = {_decoded(key): _decoded(value) for key, _, value in parts}
        if len(options) < len(parts):
            raise ConfigError(f"device {short(text)} names an option twice. Name each once.")
        return cls(kind, _decoded(name), options)

    def absolute(self) -> DeviceAddress:
        """The same with absolute paths of the files it names, which hold wherever a run goes on.

        :raises ConfigError: for what is no path.
        """
        if self.kind == "replay":
            return replace(self, name=str(user_path(self.name, "the file to replay").absolute()))
        files = {key: value for key, value in self.options.items() if self.kind == "local" and key in FILE_OPTIONS}
        paths = {key: str(user_path(value, f"option {key}").absolute()) for key, value in files.items()}
        return replace(self, options=self.options | paths)

    @property
    def without_places(self) -> str:
        """The string without paths and addresses, the same for the same device wherever its files are.

        >>> DeviceAddress.parse("local:twin?record=records/r.json").without_places
        'local:twin'
        """
        options = {key: value for key, value in self.options.items() if key not in PLACES}
        return str(DeviceAddress(self.kind, "counts" if self.kind == "replay" else self.name, options))

    def __str__(self) -> str:
        options = "&".join(f"{_encoded(key, '&%=')}={_encoded(value, '&%')}" for key, value in self.options.items())
        return f"{self.kind}:{_encoded(self.name, '?%')}" + (f"?{options}" if options else "")


def _decoded(text: str) -> str:
    return unquote(text, errors="surrogateescape")  # names of files need not be UTF-8


def _encoded(text: str, meaning: str) -> str:
    """As people write it; what has a meaning here, and what no file of text could hold, is percent-encoded."""
    return "".join(
        c if c.isprintable() and c not in meaning else "".join(f"%{b:02X}" for b in os.fsencode(c)) for c in text
    )
