"""Times as records write them."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_text(time: datetime) -> str:
    """A time as records write it.

    >>> utc_text(datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC))
    '2026-03-01T12:00:00Z'
    """
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment_of(text: str, key: str) -> datetime:
    """The time that a record's text says; raises :class:`ValueError` for a text that is none.

    :param key: it stands under.

    >>> moment_of("2026-03-01T12:00:00Z", "utc_end").year
    2026
    """
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{key} is {text}, no time ({error})") from error
