"""The controls of a run, after it: each trained once, its result on the disk before the next begins."""

from __future__ import annotations

import json
import logging
from functools import partial
from typing import Any

from ..files import write_atomic
from ..training.baselines import NoSuchControl
from ..training.control_names import VOID, chosen_controls
from ..training.controls import Control, open_control, train_control
from ..training.data import Images
from ..training.evaluation import evaluate
from ..training.fit import Diverged, FitState
from ..training.loop import Training
from .folder import finished_controls
from .observer import Observer
from .opened import Opened

log = logging.getLogger(__name__)


def train_controls(run: Opened, observer: Observer | None) -> dict[str, Any]:
    """Train each control that has no result yet; each is one unit for resuming.

    :returns: by name, what ``controls.json`` has of it.
    """
    names = chosen_controls(run.config.controls)
    done = finished_controls(run.folder.controls) if names else {}
    for number, name in enumerate(names, start=1):
        if name not in done:
            if observer is not None:
                observer.stage(name, number=number, of=len(names))
            try:
                done[name] = _trained(open_control(name, run.training), run, observer)
            except (Diverged, NoSuchControl) as error:  # the run itself is done and paid
                log.warning("control %s is left out: %s", name, error)
                continue
            write_atomic(run.folder.controls, json.dumps(done, indent=1))
    return done


def _trained(control: Control, run: Opened, observer: Observer | None) -> dict[str, Any]:
    """Test accuracies of a control, or losses where labels are no classes, and how many numbers it trains."""
    epochs, data = run.training.schedule.total_epochs, run.dataset
    for epoch, (state, result) in enumerate(train_control(control, run.training), start=1):
        trained = state
        if observer is not None:
            observer.advanced(result.figures, done=epoch, total=epochs)
    test = partial(_tested, control, trained, run.training)
    entry = {"accuracy": test(data.test), "parameters": control.fitter.generator.parameter_count}
    if data.second is not None:
        entry["second_accuracy"] = test(data.second)
    if control.name in VOID:
        entry["again"] = test(data.test)  # which says why it is void
    return entry


def _tested(control: Control, state: FitState, training: Training, images: Images) -> float:
    weights = control.fitter.weights(state, control.p)
    settled = control.fitter.target.settled(weights, training.batches.images)
    x, y = images.tensors()
    return evaluate(settled, weights, x, y, control.fitter.loss).figure
