"""Device strings, KIND:NAME?option=value&option=value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final
from urllib.parse import parse_qsl, urlencode

from ..errors import ConfigError


@final
@dataclass(frozen=True)
class DeviceAddress:
    """A parsed device string.

    >>> DeviceAddress.parse("local:slos?transmittance=0.3")
    DeviceAddress(kind='local', name='slos', options={'transmittance': '0.3'})
    """

    kind: str
    name: str
    options: dict[str, str]

    @classmethod
    def parse(cls, text: str) -> DeviceAddress:
        """Split a device string; raises :class:`ConfigError` when it has no kind or a malformed option."""
        body, _, query = text.partition("?")
        kind, colon, name = body.partition(":")
        if not colon or not kind or not name:
            raise ConfigError(f"device {text!r} is not KIND:NAME. Use for example local:slos or replay:counts.jsonl.")
        try:
            pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
        except ValueError as error:
            raise ConfigError(f"options of device {text!r} are not option=value&option=value ({error}).") from error
        if len(dict(pairs)) < len(pairs):
            raise ConfigError(f"device {text!r} names an option twice. Name each once.")
        return cls(kind, name, dict(pairs))

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" + (
            f"?{urlencode(self.options, safe=',=:/')}" if self.options else ""  # as people write them
        )
