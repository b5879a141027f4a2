"""Fine-tuning an encoder, on labelled texts or to tag tokens, and the loop that all fine-tuning shares.

Softmax over scaled cosines to one vector per label (Wang et al. 2018, "CosFace", without its margin), which begins at
the mean of the label's encodings: so the first step starts from the frozen encoder's nearest centroid and not from
chance, and what the encoder knows is adjusted, not overwritten. Token embeddings stay unchanged: they are half the
weights, and most words of a small set occur once or never.

As in Devlin et al. 2019 (BERT, section 5.3), a linear map on the last hidden states; a word is tagged by its first
token, and the loss is cross-entropy over the three tags, summed over fields, for a word may belong to several of them.
The lower layers and the embeddings stay unchanged: what they know of words holds for any text. The uppermost layers are
left out: those of a sentence encoder have learned to summarise texts, and without them little is lost (Sajjad et al.
2020, "On the Effect of Dropping Layers of Pre-trained Transformer Models"). Both save half of the time.

The loop (`descend`) knows neither models nor texts: a function gives the loss of some rows.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from inspect import signature
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, normalize
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW, Optimizer
from transformers import AutoConfig, AutoModel

from coterie.errors import ArtefactRefused, SetupError, TrainingDiverged
from coterie.runtime.files import replacing
from coterie.tuning.base import BaseEncoder, Checkpoints, Pooling

# --- Checkpoints: an interrupted training resumes and ends with the weights it would have had.
#
# A checkpoint is one safetensors file: parameters, optimizer moments, random state, and the step in its metadata. Its
# name is a hash of all that decides the weights (token ids, base, recipe, seed, libraries).

_FORMAT = 1
_RANDOM = "random"


def name_of(settings: Mapping[str, object]) -> str:
    """Return the name of a training, from its settings, as JSON, and its libraries."""
    libraries = {name: version(name) for name in ("torch", "transformers")}
    decided = json.dumps({"format": _FORMAT, **libraries, **settings}, sort_keys=True, default=str)
    return hashlib.sha256(decided.encode()).hexdigest()[:32]


@dataclass(kw_only=True)
class Checkpoint:
    """The saved state of one training."""

    path: Path
    every: float
    """Seconds of training between two saves."""
    clock: Callable[[], float] = time.monotonic
    _last: float = field(init=False)

    def __post_init__(self) -> None:
        self._last = self.clock()

    def restore(self, parameters: Sequence[nn.Parameter], optimizer: Optimizer) -> int:
        """Restore the stored state and return the steps done; 0, with nothing changed, if there is no usable state."""
        try:
            with safe_open(self.path, framework="pt") as file:
                step = int((file.metadata() or {})["step"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        except (OSError, SafetensorError, KeyError, ValueError):
            return 0
        if _RANDOM not in tensors or any(
            _shapes(tensors, index) != (parameter.shape,) * 3 for index, parameter in enumerate(parameters)
        ):
            return 0
        with torch.no_grad():
            for index, parameter in enumerate(parameters):
                parameter.copy_(tensors[f"value.{index}"])
                optimizer.state[parameter] = {
                    "step": torch.tensor(float(step)),
                    "exp_avg": tensors[f"first.{index}"],
                    "exp_avg_sq": tensors[f"second.{index}"],
                }
        torch.set_rng_state(tensors[_RANDOM])
        return step

    def due(self) -> bool:
        """Return whether it is time to save."""
        return self.clock() - self._last >= self.every

    def save(self, parameters: Sequence[nn.Parameter], optimizer: Optimizer, step: int) -> None:
        """Save the state after a step; the file is replaced as a whole.

        Raises:
            SetupError: it cannot be written.
        """
        tensors = {_RANDOM: torch.get_rng_state()}
        for index, parameter in enumerate(parameters):
            state = optimizer.state[parameter]
            tensors[f"value.{index}"] = parameter.detach()
            tensors[f"first.{index}"], tensors[f"second.{index}"] = state["exp_avg"], state["exp_avg_sq"]
        try:
            _replace(self.path, tensors, {"step": str(step)})
        except (OSError, SafetensorError) as error:
            raise SetupError(
                f"Cannot keep a checkpoint of the training in {str(self.path.parent)!r}: {error}.",
                hint="Check that the folder is writable and the disk has space.",
            ) from error
        self._last = self.clock()


def open_checkpoint(checkpoints: Checkpoints | None, settings: Mapping[str, object]) -> Checkpoint | None:
    """Return the checkpoint of a training; None where no checkpoints are kept."""
    if checkpoints is None:
        return None
    return Checkpoint(path=checkpoints.folder / f"{name_of(settings)}.safetensors", every=checkpoints.every)


def _shapes(tensors: Mapping[str, Tensor], number: int) -> tuple[torch.Size | None, ...]:
    names = (f"{kind}.{number}" for kind in ("value", "first", "second"))
    return tuple(tensors[name].shape if name in tensors else None for name in names)


def _replace(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write beside the file, then replace it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as draft:
        save_file(dict(tensors), draft, metadata=dict(metadata))


_WINDOW = 16  # batches whose rows are sorted by length together
_LARGEST_GRADIENT = 1.0


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Duration and speed of training, common to every recipe."""

    epochs: int
    """Number of times that every row is seen."""
    batch: int
    """Rows per step."""
    rate: float
    """Learning rate, at its highest."""
    decay: float
    """Weight decay of the optimizer."""
    warm_up: float = 0.1
    """Share of the steps in which the rate rises, before it falls to 0; with 0 it is constant."""


def descend(
    loss_of: Callable[[np.ndarray], Tensor],
    optimizer: Optimizer,
    *,
    lengths: Sequence[int],
    pace: Pace,
    order: np.random.Generator,
    progress: Callable[[int], None],
    checkpoint: Checkpoint | None = None,
) -> None:
    """Take all steps, or those that are left after a checkpoint.

    Args:
        loss_of: Returns the loss of the rows (B,) of a batch.
        optimizer: The optimizer of the parameters, which are trained in place.
        lengths: Length of each row.
        pace: Duration and speed.
        order: Draws the order of the rows.
        progress: Called with the rows done, `pace.epochs` times the rows in all.
        checkpoint: Where the state is kept, also the last one: a training of several parts is not done yet.

    Raises:
        TrainingDiverged: the loss is not a number.
        SetupError: a checkpoint cannot be written.
    """
    plan = [rows for _ in range(pace.epochs) for rows in batches(lengths, pace.batch, order)]
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    rates = [group["lr"] for group in optimizer.param_groups]
    done = checkpoint.restore(parameters, optimizer) if checkpoint else 0
    progress(sum(len(rows) for rows in plan[:done]))
    for step in range(done, len(plan)):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * _share_of_rate(step, len(plan), pace.warm_up)
        with all_cores():
            _take(loss_of(plan[step]), optimizer, parameters)
        if checkpoint and (checkpoint.due() or step + 1 == len(plan)):
            checkpoint.save(parameters, optimizer, step + 1)
        progress(len(plan[step]))


def _take(loss: Tensor, optimizer: Optimizer, parameters: Sequence[Tensor]) -> None:
    if not torch.isfinite(loss):
        raise TrainingDiverged(
            "The loss of fine-tuning is no finite number: nothing was stored.",
            hint="Look for odd texts in the data and at whether the base is whole, or use the rung 'embedding'.",
        )
    loss.backward()  # type: ignore[no-untyped-call]
    clip_grad_norm_(parameters, _LARGEST_GRADIENT)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def _share_of_rate(step: int, steps: int, warm_up: float) -> float:
    return 1.0 if not warm_up else min(1.0, (step + 1) / (warm_up * steps)) * max(0.0, 1 - step / steps)


def batches(lengths: Sequence[int], size: int, order: np.random.Generator) -> list[np.ndarray]:
    """Return all rows in random batches of rows of similar length: padding is wasted work."""
    shuffled = order.permutation(len(lengths))
    sizes = np.asarray(lengths)
    batches_: list[np.ndarray] = []
    for start in range(0, len(shuffled), size * _WINDOW):
        window = shuffled[start : start + size * _WINDOW]
        window = window[np.argsort(sizes[window], kind="stable")]
        batches_ += [window[at : at + size] for at in range(0, len(window), size)]
    return [batches_[index] for index in order.permutation(len(batches_))]


@contextmanager
def all_cores() -> Iterator[None]:
    """Let torch use the cores of this process, whatever limit is set for libraries with smaller products."""
    before = torch.get_num_threads()
    torch.set_num_threads(
        int(
            os.environ.get("OMP_NUM_THREADS")
            or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
        )
    )
    try:
        yield
    finally:
        torch.set_num_threads(before)


# --- The network that is trained: a transformer, pooling, a unit vector, and cosines to a vector a label.

_TINY = 1e-9
_OLD = re.compile(r"(?<=\bLayerNorm\.)(?:gamma|beta)$")


class SentenceNetwork(nn.Module):
    """Transformer, pooling and L2 normalisation, as one graph."""

    def __init__(self, transformer: nn.Module, pooling: Pooling = "mean") -> None:
        super().__init__()
        self.transformer = transformer
        self.pooling = pooling

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Return (B, D) unit vectors for (B, T) tokens."""
        hidden = token_states(self.transformer, input_ids, attention_mask, token_type_ids)  # (B, T, D)
        if self.pooling == "first":
            pooled: Tensor = hidden[:, 0]
        else:
            mask = attention_mask.unsqueeze(-1).to(hidden.dtype)  # (B, T, 1)
            pooled = (hidden * mask).sum(1) / mask.sum(1).clamp(min=_TINY)  # (B, D)
        # No fused norm: the graph is exported, and divisions are what every runtime has.
        unit: Tensor = pooled / pooled.norm(dim=1, keepdim=True).clamp(min=_TINY)
        return unit


class LinearHead(NamedTuple):
    """logits = vectors @ weights + bias."""

    weights: np.ndarray  # (D, L)
    bias: np.ndarray  # (L,)

    def logits(self, vectors: np.ndarray) -> np.ndarray:  # (N, D) -> (N, L)
        """Return the logits of each row."""
        return np.asarray(vectors @ self.weights + self.bias)


class CosineHead(nn.Module):
    """logits = scale * cosine to each label's vector + bias."""

    def __init__(self, prototypes: Tensor, scale: float) -> None:
        super().__init__()
        self.prototypes = nn.Parameter(normalize(prototypes, dim=1))  # (L, D)
        self.bias = nn.Parameter(torch.zeros(len(prototypes)))
        self.scale = scale

    def forward(self, vectors: Tensor) -> Tensor:
        """Return (B, L) logits for (B, D) unit vectors."""
        logits: Tensor = self.scale * vectors @ normalize(self.prototypes, dim=1).T + self.bias
        return logits

    def unscaled(self) -> LinearHead:
        """Return the head as plain arrays, with logits divided by the scale, in the range of cosines."""
        with torch.no_grad():
            weights = normalize(self.prototypes, dim=1).T.contiguous()
            return LinearHead(weights.numpy(), (self.bias / self.scale).numpy())


def build_network(base: BaseEncoder) -> SentenceNetwork:
    """Build the base encoder's network with its published weights. Raises `ArtefactRefused`."""
    return SentenceNetwork(load_transformer(base), base.pooling)


def load_transformer(base: BaseEncoder) -> nn.Module:
    """Load the base encoder's transformer with its published weights, without the pooler. Raises `ArtefactRefused`."""
    settings = dict(base.config)
    try:
        config = AutoConfig.for_model(str(settings.pop("model_type")), **settings)
        transformer: nn.Module = AutoModel.from_config(  # type: ignore[no-untyped-call]
            config, attn_implementation="eager"
        )
        missing, _ = transformer.load_state_dict(_state(base, transformer), strict=False)
    except (KeyError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        raise ArtefactRefused(f"Base encoder {base.name!r} cannot be loaded: {error}.") from error
    # The pooler is not used; position numbers are computed, not learned.
    if lost := [name for name in missing if not name.startswith("pooler.") and not name.endswith("_ids")]:
        raise ArtefactRefused(f"Base encoder {base.name!r} lacks the weights {lost[0]!r} and {len(lost) - 1} more.")
    transformer.pooler = None  # type: ignore[assignment]
    return transformer


def _state(base: BaseEncoder, transformer: nn.Module) -> dict[str, Tensor]:
    """Return the weights by current names: models with a head have a prefix, the oldest ones other norm names."""
    prefix = f"{transformer.base_model_prefix}."
    names = {"gamma": "weight", "beta": "bias"}
    return {
        _OLD.sub(lambda old: names[old[0]], name.removeprefix(prefix)): value
        for name, value in load_file(base.weights).items()
    }


def width_of(transformer: nn.Module) -> int:
    """Return the length of a token's state."""
    return int(transformer.config.hidden_size)  # type: ignore[union-attr, arg-type]


def token_states(transformer: nn.Module, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
    """Return (B, T, D) last hidden states for (B, T) tokens; not every architecture has token types."""
    more = {"token_type_ids": token_type_ids} if "token_type_ids" in signature(transformer.forward).parameters else {}
    hidden: Tensor = transformer(input_ids=input_ids, attention_mask=attention_mask, **more).last_hidden_state
    return hidden


def pad(ids: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor, Tensor]:
    """Return token ids as the network's inputs: ids, mask and types, each (B, T)."""
    width = max(len(id_) for id_ in ids)
    tokens = torch.zeros(len(ids), width, dtype=torch.long)
    mask = torch.zeros_like(tokens)
    for row, id_ in enumerate(ids):
        tokens[row, : len(id_)] = torch.tensor(id_)
        mask[row, : len(id_)] = 1
    return tokens, mask, torch.zeros_like(tokens)


_FEW, _FEWEST_STEPS, _SMALL_BATCH = 2_000, 200, 32


@dataclass(frozen=True, kw_only=True)
class Recipe(Pace):
    """Duration and speed of training; `rate` is that of the transformer."""

    rate: float = 5e-5
    decay: float = 0.01
    head_rate: float = 1e-3
    """Learning rate of the labels' vectors."""
    scale: float = 20.0
    """Factor between cosines and logits."""
    longest: int = 128
    """Tokens of a text that are read in training."""


class TunedNetwork(NamedTuple):
    """A network and the head that it was trained with."""

    network: SentenceNetwork
    head: CosineHead


def recipe_for(rows: int) -> Recipe:
    """Return the recipe for so many rows: few rows are seen more often, in smaller batches, for enough steps."""
    if rows < _FEW:
        return Recipe(epochs=max(4, min(20, round(_FEWEST_STEPS * _SMALL_BATCH / max(rows, 1)))), batch=_SMALL_BATCH)
    return Recipe(epochs=3, batch=64)


def fine_tune(
    base: BaseEncoder,
    texts: Sequence[str],
    hot: np.ndarray,
    *,
    several: bool,
    recipe: Recipe,
    seed: int,
    progress: Callable[[int], None],
    checkpoints: Checkpoints | None = None,
) -> TunedNetwork:
    """Fine-tune the base encoder so that texts of one label are close to each other.

    Args:
        base: The encoder to start from.
        texts: N texts.
        hot: (N, L) of 0 and 1; every text has a label unless `several`.
        several: Whether labels apply together (a sigmoid each); otherwise any of a text's labels is right.
        recipe: Duration and speed.
        seed: Order of the rows and dropout. The same seed gives the same weights on the same machine.
        progress: Called with the rows done, `recipe.epochs` times N in all.
        checkpoints: Where the state is kept, for an interrupted run to resume.

    Raises:
        TrainingDiverged: the loss is not a number.
        SetupError: a checkpoint cannot be written.
    """
    torch.manual_seed(seed)
    order = np.random.default_rng(seed)
    ids = base.token_ids(texts, longest=recipe.longest)
    network = build_network(base)
    targets = torch.tensor(hot, dtype=torch.float32)
    head = CosineHead(targets.T @ torch.from_numpy(encode_ids(network, ids)), recipe.scale)
    network.train()
    descend(
        lambda rows: _loss(head(network(*pad([ids[row] for row in rows]))), targets[rows], several=several),
        _optimizer(network, head, recipe),
        lengths=[len(id_) for id_ in ids],
        pace=recipe,
        order=order,
        progress=progress,
        checkpoint=open_checkpoint(
            checkpoints,
            {"what": "encoder", "base": base.sha256, "ids": ids, "hot": hot.tolist(), "several": several}
            | asdict(recipe)
            | {"seed": seed},
        ),
    )
    return TunedNetwork(network.eval(), head)


def encode_ids(network: SentenceNetwork, ids: Sequence[Sequence[int]], *, batch: int = 64) -> np.ndarray:  # (N, D)
    """Return the network's vectors, without dropout."""
    return np.stack(run_batches(network, ids, batch=batch))


def run_batches(network: nn.Module, ids: Sequence[Sequence[int]], *, batch: int) -> list[np.ndarray]:
    """Return the network's output of each row, padding included, without dropout; batches have similar lengths."""
    network.eval()
    order = np.argsort([len(id_) for id_ in ids], kind="stable")
    outputs: list[np.ndarray] = [np.empty(0)] * len(ids)
    with torch.inference_mode():
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            for row, output in zip(rows, network(*pad([ids[row] for row in rows])).numpy(), strict=True):
                outputs[row] = output
    return outputs


def _optimizer(network: SentenceNetwork, head: CosineHead, recipe: Recipe) -> AdamW:
    for parameter in network.transformer.get_input_embeddings().parameters():  # type: ignore[operator]
        parameter.requires_grad_(requires_grad=False)
    tuned = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [{"params": tuned, "lr": recipe.rate}, {"params": list(head.parameters()), "lr": recipe.head_rate}]
    return AdamW(groups, weight_decay=recipe.decay)


def _loss(logits: Tensor, targets: Tensor, *, several: bool) -> Tensor:  # (B, L), (B, L)
    if several:
        return binary_cross_entropy_with_logits(logits, targets)
    return cross_entropy(logits, targets / targets.sum(1, keepdim=True))


# --- Fine-tuning an encoder to tag tokens: for each field, whether a word is outside its values, begins one or goes on.

TAGS = 3
"""Number of tags: outside, begins, continues."""
_FEW_WINDOWS, _FEWEST_TAG_STEPS, _SMALL_TAG_BATCH, _MOST_EPOCHS = 2_000, 300, 8, 20


class TaggedTokens(NamedTuple):
    """One window of a text as the network's input, with its right tags."""

    ids: Sequence[int]  # (T,) with the marks at both ends
    places: Sequence[int]  # (W,) of the first token of each word
    tags: np.ndarray  # (W, F) 0, 1 or 2


@dataclass(frozen=True, kw_only=True)
class TagRecipe(Pace):
    """Duration and speed of training; `rate` is that of the transformer."""

    rate: float = 5e-4
    head_rate: float = 4e-3
    """Learning rate of the linear map."""
    decay: float = 0.01
    dropout: float = 0.0
    """Share of activations dropped in a step, in place of the base's own setting: steps are few here."""
    kept: float = 2 / 3
    """Share of the layers, the lowest, that are kept."""
    frozen: float = 1 / 3
    """Share of the layers, the lowest, that are frozen."""


def tag_recipe_for(windows: int) -> TagRecipe:
    """Return the recipe for so many windows: few are seen more often, in smaller batches, for enough steps."""
    if windows < _FEW_WINDOWS:
        epochs = round(_FEWEST_TAG_STEPS * _SMALL_TAG_BATCH / max(windows, 1))
        return TagRecipe(epochs=max(4, min(_MOST_EPOCHS, epochs)), batch=_SMALL_TAG_BATCH)
    return TagRecipe(epochs=4, batch=8)


class TokenNetwork(nn.Module):
    """A transformer and a linear map to three logits per field, as one graph."""

    def __init__(self, transformer: nn.Module, width: int, fields: int) -> None:
        super().__init__()
        self.transformer = transformer
        self.head = nn.Linear(width, fields * TAGS)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Return (B, T, F * 3) logits for (B, T) tokens, the three of a field beside each other."""
        logits: Tensor = self.head(token_states(self.transformer, input_ids, attention_mask, token_type_ids))
        return logits


def fine_tune_tags(
    base: BaseEncoder,
    windows: Sequence[TaggedTokens],
    *,
    fields: int,
    recipe: TagRecipe,
    seed: int,
    progress: Callable[[int], None],
    checkpoints: Checkpoints | None = None,
) -> TokenNetwork:
    """Fine-tune the base encoder so that it tags the values of fields.

    Args:
        base: The encoder to start from.
        windows: N pieces of texts with their tags.
        fields: Number of fields.
        recipe: Duration and speed.
        seed: First weights of the map, order of the windows and dropout. The same seed gives the same weights on the
            same machine.
        progress: Called with the windows done, `recipe.epochs` times N in all.
        checkpoints: Where the state is kept, for an interrupted run to resume.

    Raises:
        TrainingDiverged: the loss is not a number.
        SetupError: a checkpoint cannot be written.
    """
    torch.manual_seed(seed)
    network = build_token_network(base, fields, kept=recipe.kept)
    start_at_frequencies(network, windows)
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = recipe.dropout
    optimizer = _tag_optimizer(network, recipe)
    network.train()
    descend(
        lambda rows: tag_loss(network, [windows[row] for row in rows]),
        optimizer,
        lengths=[len(window.ids) for window in windows],
        pace=recipe,
        order=np.random.default_rng(seed),
        progress=progress,
        checkpoint=open_checkpoint(checkpoints, _decides(base, windows) | asdict(recipe) | {"seed": seed}),
    )
    return network.eval()


def build_token_network(base: BaseEncoder, fields: int, *, kept: float) -> TokenNetwork:
    """Build the base's lower layers with their published weights, and a random map. Raises `ArtefactRefused`."""
    transformer = load_transformer(base)
    layers = layers_of(transformer)
    del layers[max(1, round(kept * len(layers))) :]
    return TokenNetwork(transformer, width_of(transformer), fields)


def start_at_frequencies(network: TokenNetwork, windows: Sequence[TaggedTokens]) -> None:
    """Initialise the map with the frequency of each tag: nearly all words are outside, which takes steps to learn."""
    tags = np.concatenate([window.tags for window in windows])  # (P, F)
    counts = np.stack([(tags == tag).sum(axis=0) for tag in range(TAGS)], axis=1) + 1  # (F, 3)
    with torch.no_grad():
        network.head.bias.copy_(torch.from_numpy(np.log(counts / counts.sum(axis=1, keepdims=True)).ravel()))


def tag_loss(network: nn.Module, windows: Sequence[TaggedTokens]) -> Tensor:  # ... -> ()
    """Return the mean over words of the cross-entropy summed over fields."""
    tokens, mask, kinds = pad([window.ids for window in windows])
    rows = torch.tensor([row for row, window in enumerate(windows) for _ in window.places])
    places = torch.tensor([row for window in windows for row in window.places])
    tags = torch.from_numpy(np.concatenate([window.tags for window in windows]))  # (P, F)
    logits = network(tokens, mask, kinds)[rows, places].reshape(-1, TAGS)  # (P * F, 3)
    return cross_entropy(logits, tags.reshape(-1)) * tags.shape[1]


def token_logits(network: TokenNetwork, ids: Sequence[Sequence[int]], *, batch: int = 16) -> list[np.ndarray]:
    """Return the network's own fp32 logits (T, F * 3) of each window, without dropout."""
    outputs = run_batches(network, ids, batch=batch)
    return [logits[: len(row)] for logits, row in zip(outputs, ids, strict=True)]


def _decides(base: BaseEncoder, windows: Sequence[TaggedTokens]) -> dict[str, object]:
    """Return what determines the weights beside recipe and seed."""
    content = [[list(window.ids), list(window.places), window.tags.tolist()] for window in windows]
    return {"what": "token tagger", "base": base.sha256, "windows": content}


def _tag_optimizer(network: TokenNetwork, recipe: TagRecipe) -> AdamW:
    """Return an optimizer of the upper layers and the map; the layers below are frozen."""
    layers = layers_of(network.transformer)
    network.transformer.requires_grad_(False)
    tuned = [
        parameter
        for layer in layers[int(recipe.frozen / recipe.kept * len(layers)) :]
        for parameter in layer.parameters()
    ]
    for parameter in tuned:
        parameter.requires_grad_(True)
    groups = [{"params": tuned, "lr": recipe.rate}, {"params": list(network.head.parameters()), "lr": recipe.head_rate}]
    return AdamW(groups, weight_decay=recipe.decay)


def layers_of(transformer: nn.Module) -> nn.ModuleList:
    """Return a transformer's layers, from the lowest: its longest list of modules."""
    return max((module for module in transformer.modules() if isinstance(module, nn.ModuleList)), key=len)
