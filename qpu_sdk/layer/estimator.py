"""From counts to a distribution, for everything that is trained."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, final

from ..calibration.record import CalibrationRecord
from ..errors import MitigationError
from ..mitigation.distribution import Distribution
from ..mitigation.mitigate import mitigate
from ..mitigation.selection import post_select
from ..photonics.counts import Counts
from ..photonics.program import Program
from ..seeds import child_seed


class Configured(Protocol):
    """A configuration that knows a hash of itself."""

    def fingerprint_but(self, leaving_out: Mapping[str, set[str]]) -> str:
        """SHA-256 of all but some keys, by table."""
        ...


#: Keys that are left out of a fingerprint, by table.
_NOTHING: Mapping[str, set[str]] = {}


@final
@dataclass(frozen=True, eq=False)
class Mitigation:
    """How a run or a layer mitigates.

    :param records: by device string; counts of the other devices are post-selected.
    :param method: ``auto``, or a name of :data:`qpu_sdk.mitigation.methods.METHODS`.
    :param notes: why a device that may need a record has none, by device string.
    """

    records: Mapping[str, CalibrationRecord]
    method: str
    seed: int
    notes: Mapping[str, str]

    @property
    def record_ids(self) -> dict[str, str]:
        """Hash of each record's content, by device string."""
        return {name: record.id for name, record in self.records.items()}

    def fingerprint(self, config: Configured, *, leaving_out: Mapping[str, set[str]] = _NOTHING) -> str:
        """SHA-256 of what decides a run's result: its configuration, but for some keys by table, and its records."""
        own = config.fingerprint_but(leaving_out)
        if not self.records:
            return own
        values = [own, self.record_ids]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    def distribution(self, counts: Counts, program: Program, *, device: str, label: str) -> Distribution:
        """The estimate from counts of one program.

        :param label: names the measurement; what is drawn depends on it and the run's seed alone.
        :raises MitigationError: when the counts have no event, or not what the method needs; names the device.
        """
        record = self.records.get(device)
        try:
            if record is None:
                return post_select(counts)
            seed = child_seed(self.seed, "mitigation", label)
            return mitigate(counts, record, program=program, method=self.method, seed=seed)
        except MitigationError as error:
            raise MitigationError(f"{device}, {label}: {error}") from error
