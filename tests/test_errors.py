"""The error tree in the documentation is the one in the code."""

from __future__ import annotations

import inspect
import re

import pytest

from qpu_sdk import errors
from qpu_sdk.errors import JobCancelled, JobError, QPUError


def documented() -> dict[str, str]:
    """Parent of every error drawn in the module's docstring."""
    parents, branch = {"QPUError": "Exception"}, {0: "QPUError"}
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^( {4}(?:\|   |    )*)\+-- (\w+)", line)
        if match:
            depth = len(match[1]) // 4
            parents[match[2]], branch[depth] = branch[depth - 1], match[2]
    return parents


def defined() -> dict[str, type[Exception]]:
    members = inspect.getmembers(errors, inspect.isclass)
    return {name: cls for name, cls in members if cls.__module__ == errors.__name__}


def test_tree_in_the_docstring_is_the_tree_of_classes() -> None:
    assert documented() == {name: cls.__base__.__name__ for name, cls in defined().items() if cls.__base__}
    assert len(documented()) > 10


@pytest.mark.parametrize("cls", defined().values())
def test_every_error_is_a_qpu_error_with_its_message(cls: type[Exception]) -> None:
    assert issubclass(cls, QPUError)
    assert str(cls("what, the value, the limit, the way out")) == "what, the value, the limit, the way out"


@pytest.mark.parametrize("cls", [c for c in defined().values() if issubclass(c, JobError)])
def test_errors_of_jobs_carry_the_job(cls: type[JobError]) -> None:
    assert cls("message", job_id="7").job_id == "7"
    assert cls("message").job_id == ""


def test_other_words_lose_nothing_of_an_error() -> None:
    error = JobCancelled("message", job_id="7", partial=(1, None))
    other = error.saying("lab: message")
    assert (type(other), str(other), other.job_id, other.partial) == (JobCancelled, "lab: message", "7", (1, None))
    assert str(error) == "message"


def test_a_cancelled_job_carries_what_was_finished() -> None:
    error = JobCancelled("message", job_id="7", partial=(1, None))
    assert (error.job_id, error.partial) == ("7", (1, None))
    assert JobCancelled("message").partial == ()
