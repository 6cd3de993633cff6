"""Target networks, and the view of any ``torch.nn.Module`` as a function of one flat weight vector."""

from __future__ import annotations

import copy
import functools
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ConfigError
from ..words import one_line
from .acceptable import check_kept, check_parameters, copied, evaluated, further_places, generated_names
from .config import TargetConfig
from .factories import open_factory
from .modes import in_training, is_learning_norm, is_still_norm, seeded_torch
from .networks import NETWORKS
from .places import Places
from .probe import PROBE_IMAGES, PROBE_SEED, PROBE_SLACK
from .tokens import TokenInputs


@final
class PaperCNN(nn.Module):
    """The 6,690-weight CNN of arXiv:2505.08474: no activation function, max-pooling is the only nonlinearity."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, kernel_size=5)
        self.conv2 = nn.Conv2d(8, 12, kernel_size=5)
        self.fc1 = nn.Linear(192, 20)
        self.fc2 = nn.Linear(20, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Images in [0, 1], ``(n, 1, 28, 28)``, to logits, ``(n, 10)``."""
        # Channels last in memory: a training step on a CPU takes two thirds of the time, most of it saved in pooling.
        x = F.max_pool2d(self.conv1(images).contiguous(memory_format=torch.channels_last), 2)
        x = F.max_pool2d(self.conv2(x), 2)
        logits: Tensor = self.fc2(self.fc1(x.flatten(1)))
        return logits


def paper_cnn() -> nn.Module:
    """The published target.

    >>> sum(p.numel() for p in paper_cnn().parameters())
    6690
    """
    return PaperCNN()


#: Targets that a model file may name; anything else must be named by the user.
BUILT_IN: Mapping[str, Callable[[], nn.Module]] = {
    "qpu_sdk.training.targets:paper_cnn": paper_cnn,
    **{f"qpu_sdk.training.networks:{build.__name__}": build for build in NETWORKS},
}


#: Most images over which statistics of batch norms are taken at once.
SETTLING_BATCH = 1000


@final
class Target:
    """A network as a function of its flat weights: those that are generated, then those that are trained as they are.

    Both are in ``state_dict`` order, and by default all are generated. The module's own parameters are only the
    template of names, shapes and types; those that need no gradient keep their values. In training each layer is in the
    mode that it was passed in, so dropout is on, and batch norms see the statistics of the batch; elsewhere it is in
    evaluation mode, and batch norms have the statistics of all training images in the end, unless they are frozen or in
    evaluation mode themselves. It is a copy: the caller's module is left as it was.

    :param config: which parameters are generated, and what becomes of the rest.
    :raises ConfigError: when the module has no parameter to generate, cannot be copied, or has what no file keeps.

    >>> target = Target(paper_cnn())
    >>> target.size, Target(paper_cnn(), TargetConfig(include=["fc*"])).generated
    (6690, 4070)
    """

    def __init__(self, module: nn.Module, config: TargetConfig | None = None) -> None:
        config = TargetConfig() if config is None else config
        check_parameters(module)
        check_kept(module)
        names = generated_names(module, config)
        self.module = copied(module)
        own = dict(self.module.named_parameters())
        if config.rest == "freeze":
            for name in own.keys() - set(names):
                own[name].requires_grad_(False)
        self._generated = len(names)
        names += [name for name, p in own.items() if p.requires_grad and name not in names]
        self.shapes: dict[str, torch.Size] = {name: own[name].shape for name in names}
        self.sizes = [shape.numel() for shape in self.shapes.values()]
        self.size = sum(self.sizes)
        #: How many of the weights are generated: the first ones.
        self.generated = sum(self.sizes[: self._generated])
        self.frozen = sum(p.numel() for name, p in own.items() if name not in self.shapes)
        self._kinds = [own[name].dtype for name in names]
        self._further = further_places(self.module)
        self._places = Places(self.module)
        self._tokens = TokenInputs(self.module)
        kinds = {p.dtype for p in self.module.parameters() if p.is_floating_point()}
        self._kind = kinds.pop() if len(kinds) == 1 else None  # of the images that the layers take
        #: Layers whose statistics are of the images and not of the seed; as they are in a frozen or an evaluated layer.
        self._norms = [layer for layer in self.module.modules() if is_learning_norm(layer)]
        self._trained = [layer for layer in self.module.modules() if layer.training and not is_still_norm(layer)]
        evaluated(self.module)

    @property
    def ordinary(self) -> int:
        """How many of the weights are trained as they are: the last ones."""
        return self.size - self.generated

    @property
    def generated_part(self) -> Target:
        """The same with the generated weights alone, the others frozen."""
        other, count = copy.copy(self), self._generated
        other.shapes = dict(list(self.shapes.items())[:count])
        other.sizes, other._kinds, other.size = self.sizes[:count], self._kinds[:count], self.generated
        return other

    @property
    def learns_statistics(self) -> bool:
        """Whether it has layers, such as batch norms, that keep statistics of the images they see."""
        return bool(self._norms)

    def tensors(self, weights: Tensor) -> dict[str, Tensor]:
        """Cut flat weights, ``(size,)``, into named tensors: views, except of other types than float32."""
        parts = zip(self.shapes.items(), torch.split(weights, self.sizes), self._kinds, strict=True)
        own = weights.dtype
        return {
            name: part.view(shape) if kind is own else part.view(shape).to(kind) for (name, shape), part, kind in parts
        }

    def logits(self, weights: Tensor, images: Tensor, *, learning: bool = False, seed: int | None = None) -> Tensor:
        """The network's output for a batch of images.

        :param weights: ``(size,)``.
        :param images: ``(n, C, H, W)``; they stay as they are, whatever the network does to its input.
        :param learning: True for statistics of this batch in batch norms, as in training.
        :param seed: in training, of what dropout and the like draw, which is drawn nowhere else; None: nothing is.
        :returns: ``(n, classes)``.
        """
        if not learning or not (self._norms or seed is not None):
            return self._answer(self._tied(self.tensors(weights)), images)
        return self._learning(weights, images, seed)[0]

    def _answer(self, state: dict[str, Tensor], images: Tensor) -> Tensor:
        with self._places.holding(state):
            return _floats(self.module(self._own(images)))

    def _tied(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return tensors | {other: tensors[name] for other, name in self._further.items() if name in tensors}

    def _learning(self, weights: Tensor, images: Tensor, seed: int | None) -> tuple[Tensor, dict[str, Tensor]]:
        """The output in training, and what it left in copies of the buffers."""
        buffers = {name: buffer.clone() for name, buffer in self.module.named_buffers()}  # they are written to
        state = self._tied(self.tensors(weights) | buffers)
        if seed is None:
            with in_training(self._norms):
                return self._answer(state, images), state
        with in_training(self._trained), seeded_torch(seed, weights.device):
            return self._answer(state, images), state

    def written_in_training(self, images: Tensor) -> list[str]:
        """Names of buffers that the network changes in training, other than statistics of batch norms.

        :param images: ``(n, C, H, W)``.
        """
        weights = self.some_weights(torch.Generator().manual_seed(0))
        with torch.no_grad():
            state = self._learning(weights, images, 0)[1]
        of_norms = {id(buffer) for layer in self._norms for buffer in layer.buffers()}
        own = {name: buffer for name, buffer in self.module.named_buffers() if id(buffer) not in of_norms}
        return [name for name, buffer in own.items() if not torch.equal(state[name], buffer)]

    def settled(self, weights: Tensor, images: Tensor) -> Target:
        """The network with the statistics that all these images have under these weights, which is how it leaves.

        They are a function of weights and images alone, unlike averages over the steps of a training: so a run has the
        same ones however often it was resumed. A network without batch norms is itself.

        :param weights: ``(size,)``.
        :param images: of the training, ``(n, C, H, W)``.
        """
        if not self._norms:
            return self
        other = self._copied()
        before = [layer.momentum for layer in other._norms]
        for layer in other._norms:
            layer.reset_running_stats()
            layer.momentum = None  # the mean over all batches, which are therefore of one size
        with torch.no_grad(), in_training(other._norms):
            for batch in torch.tensor_split(images, math.ceil(len(images) / SETTLING_BATCH)):
                other._answer(other._tied(other.tensors(weights)), batch)
        for layer, momentum in zip(other._norms, before, strict=True):
            layer.momentum = momentum
        return other

    def to(self, device: torch.device) -> Target:
        """The same network on a device."""
        other = self._copied()
        other.module.to(device)
        return other

    def _copied(self) -> Target:
        other = copy.deepcopy(self)
        other._places = Places(other.module)
        return other

    def _own(self, images: Tensor) -> Tensor:
        """A copy, of the type that all layers have unless it has whole numbers, as an embedding takes them."""
        kind = self._kind if images.is_floating_point() else None
        return images.clone() if kind is None else images.to(kind, copy=True)

    def state(self, weights: Tensor) -> dict[str, Tensor]:
        """The whole ``state_dict`` with these weights: generated tensors, what is tied to them, frozen ones, buffers.

        :param weights: ``(size,)``.
        """
        generated = self.tensors(weights)
        by_tensor = {id(p): name for name, p in self.module.named_parameters() if name in generated}
        own = self.module.state_dict(keep_vars=True)  # without it come views, with identities of their own
        return {name: generated[by_tensor[id(t)]] if id(t) in by_tensor else t.detach() for name, t in own.items()}

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what the network says of itself: layers, names, and the values that are not generated.

        Two classes of one name and other code have one fingerprint; :meth:`probe` tells them apart.
        """
        digest = hashlib.sha256(repr(self.module).encode())
        digest.update(repr([(name, tuple(shape)) for name, shape in self.shapes.items()]).encode())
        if self._norms:
            digest.update(repr([name for name, part in self.module.named_modules() if part in self._norms]).encode())
        frozen = [(name, p) for name, p in self.module.named_parameters() if name not in self.shapes]
        for name, kept in (*frozen, *self.module.named_buffers()):
            digest.update(repr((name, tuple(kept.shape), str(kept.dtype))).encode() + tensor_bytes(kept))
        return digest.hexdigest()

    def probe(self, image_shape: Sequence[int], weights: Tensor | None = None) -> Tensor:
        """Logits of seeded weights on seeded images: what the network computes, whatever its class is called.

        :param image_shape: of one image, ``(C, H, W)``.
        :param weights: others, ``(size,)``.
        :returns: ``(n, classes)`` float32.
        """
        rng = torch.Generator().manual_seed(PROBE_SEED)
        images = self.some_images(PROBE_IMAGES, image_shape, rng)
        weights = self.some_weights(rng) if weights is None else weights
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(PROBE_SEED)  # a network may draw numbers even in evaluation mode
            return self.logits(weights, images).detach().float().reshape(PROBE_IMAGES, -1)

    def some_images(self, count: int, image_shape: Sequence[int], rng: torch.Generator) -> Tensor:
        """Random images, ``(count, *image_shape)`` in [0, 1]; of a network that embeds them, numbers of its tokens."""
        images = torch.rand((count, *image_shape), generator=rng, dtype=torch.float32)
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            rows = self._tokens.asked(lambda: self.logits(torch.zeros(self.size), images[:1]))
        return images if rows is None else (images * rows).floor()

    def some_weights(self, rng: torch.Generator) -> Tensor:
        """Random weights with which numbers neither grow nor shrink much from layer to layer, ``(size,)``."""
        shapes = self.shapes.values()
        drawn = [torch.randn(shape, generator=rng, dtype=torch.float32) for shape in shapes]
        weights = [one / max(1, one.shape[1:].numel()) ** 0.5 for one in drawn]
        return torch.cat([w.reshape(-1) for w in weights])

    def flat(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """The inverse of :meth:`tensors`.

        :returns: ``(size,)``.
        """
        kind = functools.reduce(torch.promote_types, self._kinds, torch.float32)  # so that nothing is rounded
        return torch.cat([tensors[name].reshape(-1).to(kind) for name in self.shapes])


def load_target(factory: str, *, seed: int, folder: str | None = None, config: TargetConfig | None = None) -> Target:
    """Call ``module:function`` or ``path/to/file.py:function`` and wrap the network it returns.

    :param folder: where the module is, unless it is installed.
    :param config: which of its parameters are generated.
    :param seed: the network's template is built under it; the global random states are left as they were.
    :raises ConfigError: when it cannot be imported, raises, or returns no network with weights to generate.
    """
    return Target(open_factory(factory, seed=seed, folder=folder), config)


def check_rebuilt(target: Target, named: TargetConfig, image_shape: Sequence[int], *, seed: int) -> None:
    """Raise unless the factory gives the same network again, so that a run goes on and a file is enough to have it.

    :param target: which the factory gave under this seed.
    :param image_shape: of one image, ``(C, H, W)``.
    :raises ConfigError: when something is drawn at random that neither the seed nor the ``state_dict`` knows.
    """
    again, other = (open_factory(named.factory, seed=s, folder=named.folder) for s in (seed, seed + 1))
    own, same = target.module.state_dict(), again.state_dict()
    way = "Draw it from torch's, numpy's or Python's global random numbers, which the run seeds"
    for name in own:
        if name not in target.shapes and not torch.equal(own[name], same[name]):
            raise ConfigError(f"target {named.factory!r} gives another {name} each time. {way}.")
    try:
        other.load_state_dict(own)
    except RuntimeError as error:
        raise ConfigError(
            f"target {named.factory!r} does not take its own state_dict ({one_line(error, 200)})."
        ) from error
    if not torch.allclose(
        Target(other, named).probe(image_shape), target.probe(image_shape), rtol=1e-3, equal_nan=True
    ):
        raise ConfigError(
            f"target {named.factory!r} draws something at random that is not in its state_dict, so a model file would "
            "not give the network again. Register it with register_buffer."
        )


def answers_alike(network: nn.Module, image_shape: Sequence[int], expected: Sequence[Sequence[float]]) -> bool:
    """Whether a network answers seeded images as one did before, up to what another machine rounds otherwise.

    :param network: in evaluation mode.
    :param image_shape: of one image, ``(C, H, W)``.
    :param expected: of :meth:`Target.probe` with its weights.
    """
    trained = any(p.requires_grad for p in network.parameters())
    template = Target(network if trained else copy.deepcopy(network).requires_grad_(True))
    found = template.probe(image_shape, template.flat(dict(network.named_parameters())))
    known = torch.tensor(expected, dtype=torch.float32)
    finite = known[torch.isfinite(known)].abs()
    slack = PROBE_SLACK * float(finite.max()) if finite.numel() else 0.0
    return found.shape == known.shape and torch.allclose(found, known, rtol=PROBE_SLACK, atol=slack, equal_nan=True)


def _floats(answer: Tensor) -> Tensor:
    """Logits of 16 bits as float32, in which a loss is summed; whatever else a network answers as it is."""
    short_ = isinstance(answer, Tensor) and answer.dtype in (torch.float16, torch.bfloat16)
    return answer.float() if short_ else answer


def tensor_bytes(tensor: Tensor) -> bytes:
    """The numbers of a tensor of any type: numpy knows no bfloat16."""
    return tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()
