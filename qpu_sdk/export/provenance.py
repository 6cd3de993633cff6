"""What a file that leaves says of itself: strings, without paths, addresses or times."""

from __future__ import annotations

import json
from pathlib import PurePath

from ..errors import DataError
from ..training.config import GIVEN
from .weights import Model

#: Of the model's own metadata, what means something without the SDK.
_OWN = ("target", "test_accuracy", "seed", "data_seed", "config_sha256", "versions", "mitigation")


def provenance(model: Model) -> dict[str, str]:
    """What the network is of, and which images it takes, for the metadata of any format."""
    use = model.use
    found = {key: model.metadata[key] for key in _OWN if key in model.metadata}
    found |= {"made_by": "qpu_sdk", "image_shape": json.dumps(list(use.shape)), "data": data_name(model)}
    found["images"] = "float32 in [0, 1]" if use.scale is None else f"float32 in [0, 1], pixels / {use.scale:g}"
    if use.page is not None:
        found["page"] = "light ink on a dark page" if use.page == 0 else "dark ink on a light page"
    return found


def data_name(model: Model) -> str:
    """The data that the model was trained on, without the folder in which it was; "" where the model does not say."""
    try:
        source = model.data.source
    except DataError:
        return ""
    return "images passed from Python" if source == GIVEN else ", ".join(PurePath(p).name for p in source.split(","))
