"""Files to a model hub, only when somebody asks: through huggingface_hub, with its own login."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.util import find_spec

from pydantic import SecretStr

from ..devices.cloud.masking import TokenMask
from ..errors import ConfigError


def push_files(contents: Mapping[str, bytes], repository: str) -> str:
    """One commit with these files; a repository that is not there is made, private.

    :param contents: by their names in the repository.
    :param repository: ``user/name``.
    :returns: address of the commit.
    :raises ConfigError: when huggingface_hub is missing, nobody is logged in, or the hub refuses.
    """
    if find_spec("huggingface_hub") is None:
        raise ConfigError("--push needs huggingface_hub. Install it with: pip install huggingface_hub")
    from huggingface_hub import CommitOperationAdd, HfApi, get_token

    mask = TokenMask(SecretStr(get_token() or ""))
    before = logging.root.manager.disable
    logging.disable(logging.INFO)  # clients log headers, and servers echo what is in them
    try:
        api = HfApi()
        api.create_repo(repository, private=True, exist_ok=True)
        operations = [CommitOperationAdd(name, content) for name, content in sorted(contents.items())]
        commit = api.create_commit(repository, operations, commit_message="Upload a model trained with qpu_sdk")
    except Exception as error:  # of the hub's client, of the network below it, of names that are none
        why = f"{type(error).__name__}: {mask.words(error, 240)}"
        raise ConfigError(
            f"{mask.words(repository, 100)} does not take the files ({why}). "
            "Log in with `hf auth login` or HF_TOKEN, and check the name: --push USER/NAME."
        ) from None  # whose traceback may show headers
    finally:
        logging.disable(before)
    return mask.words(getattr(commit, "commit_url", commit))
