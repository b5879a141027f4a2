"""LoRA for real, with torch: a very small Llama of random weights, then SmolLM2 against llama.cpp."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("peft", reason="needs the extra `train`")

import gguf
import torch
from peft import PeftModel
from safetensors.torch import load
from transformers import LlamaConfig, LlamaForCausalLM

from coterie.config.file import LlamaModel
from coterie.engines.llama import LlamaEngine
from coterie.errors import SetupError, TrainingDiverged
from coterie.models.catalogue import installed
from coterie.tasks.generate.grounding import Drafting
from coterie.tuning import causal as _precision
from coterie.tuning.base import Checkpoints, find_causal_base
from coterie.tuning.causal import (
    ATTENTION,
    FEED_FORWARD,
    GGUF_ADAPTER,
    LoraRecipe,
    TokenPair,
    adapter_files,
    add_adapter,
    completion_loss,
    load_causal,
    load_tokens,
    one_table_of_names,
    plain_bytes,
    tune_adapter,
)
from coterie.tuning.plain_loop import plain_lora
from coterie.types import Prompt

WORDS = 61


def tiny() -> LlamaForCausalLM:
    """A Llama of three narrow layers with random weights."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=WORDS,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=True,
        use_cache=False,
        pad_token_id=0,
        initializer_range=0.2,
    )
    return LlamaForCausalLM(config)


@pytest.fixture
def pairs() -> list[TokenPair]:
    """Prompts of any length; what is to be said is the first token, then the end."""
    random = np.random.default_rng(0)
    prompts = [random.integers(4, WORDS, random.integers(3, 12)).tolist() for _ in range(24)]
    return [TokenPair(prompt, [prompt[0], 3]) for prompt in prompts]


def tune(pairs, *, recipe=None, progress=lambda rows: None, checkpoints=None, **more):
    """Tune an adapter with a recipe for so small a model."""
    recipe = recipe or LoraRecipe(**{"epochs": 4, "batch": 6, "rate": 1e-2} | more)
    return tune_adapter(
        tiny(),
        pairs,
        base_sha256="0",
        recipe=recipe,
        seed=0,
        progress=progress,
        checkpoints=checkpoints,
    )


def loss(model, pairs) -> float:
    with torch.inference_mode():
        return float(completion_loss(model, pairs))


def weights(model) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.named_parameters() if value.requires_grad}


def test_completions_become_likely(pairs):
    """Training lowers the completions' surprise and leaves the base's weights as they were."""
    model = tune(pairs, epochs=30)
    with model.disable_adapter():
        before = loss(model, pairs)

    assert loss(model, pairs) < 0.6 * before
    base = tiny().state_dict()
    kept = model.unload().state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in base.items())


def test_the_plain_loop_agrees(pairs):
    """Batches, padding, PEFT and logits at a few places change nothing: the steps are those anybody can read."""
    plain, other = tiny(), tiny()
    torch.manual_seed(0)
    drawn = weights(add_adapter(other, rank=16, alpha=32, modules=FEED_FORWARD))
    first = {
        name.removeprefix("base_model.model.").removesuffix(".lora_A.default.weight"): value
        for name, value in drawn.items()
        if "lora_A" in name
    }
    plain_lora(plain, pairs, first, alpha=32, steps=4, rate=1e-2)
    tuned = tune(pairs, batch=len(pairs), warm_up=0.0)
    ids = torch.tensor([pairs[0].prompt])
    with torch.inference_mode():
        untuned, tuned_logits, expected = (model(input_ids=ids).logits.numpy() for model in (tiny(), tuned, plain))

    assert np.abs(expected - untuned).max() > 0.5
    # Gradients that round differently: AdamW divides by their size, so where they are nearly nothing it shows.
    assert tuned_logits == pytest.approx(expected, abs=0.02)


def test_only_completions_count(pairs):
    """The loss is the mean over the completions' tokens, whatever the padding beside them."""
    model = tune(pairs, epochs=1)
    with torch.inference_mode():
        alone = [float(completion_loss(model, [pair])) for pair in pairs]

    assert loss(model, pairs) == pytest.approx(np.mean(alone), abs=1e-5)


def test_the_same_seed_gives_the_same_weights(pairs):
    """To the last bit."""
    first, second = weights(tune(pairs)), weights(tune(pairs))

    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_a_loss_that_is_no_number(pairs):
    """Is an error that says so."""
    with pytest.raises(TrainingDiverged, match="no finite number"):
        tune(pairs, rate=float("inf"))


@pytest.mark.parametrize(("slow", "quick", "chosen"), [(14.0, 7.0, torch.bfloat16), (14.0, 12.0, torch.float32)])
def test_numbers_that_this_cpu_multiplies_soonest(monkeypatch, slow, quick, chosen):
    """Frozen weights are bfloat16 where that is measurably quicker, and the report says which and why."""
    monkeypatch.setattr(_precision, "_seconds", {torch.float32: slow, torch.bfloat16: quick}.__getitem__)
    monkeypatch.setattr(_precision, "quickest_dtype", _precision.quickest_dtype.__wrapped__)

    assert _precision.quickest_dtype() is chosen
    assert _precision.describe_precision()["numbers"] == str(chosen).removeprefix("torch.")


def test_a_network_of_half_the_bits_learns_the_same(pairs):
    """Of bfloat16, the frozen weights round; the adapter is fp32 all the same, and the completions become likely."""
    model = tune_adapter(
        tiny().bfloat16(),
        pairs,
        base_sha256="0",
        recipe=LoraRecipe(epochs=30, batch=6, rate=1e-2),
        seed=0,
        progress=lambda rows: None,
    )
    with model.disable_adapter():
        before = loss(model, pairs)

    assert {value.dtype for value in weights(model).values()} == {torch.float32}
    assert loss(model, pairs) < 0.6 * before


# --- Interrupted -------------------------------------------------------------------------------------


class Stop(Exception):
    """What ends a training here."""


def stopping(after: int):
    """A progress that ends the training when so many rows are done, and counts them."""
    done = [0]

    def progress(rows: int) -> None:
        done[0] += rows
        if done[0] >= after:
            raise Stop

    return progress


@pytest.mark.parametrize("rows", [6, 30, 90])
def test_resuming_gives_the_same_weights(pairs, tmp_path, rows):
    """Killed after any step, the next run goes on from there and ends where an uninterrupted one does."""
    checkpoints = Checkpoints(folder=tmp_path / "topic", every=0.0)
    with pytest.raises(Stop):
        tune(pairs, progress=stopping(rows), checkpoints=checkpoints)
    progress: list[int] = []
    resumed, whole = weights(tune(pairs, progress=progress.append, checkpoints=checkpoints)), weights(tune(pairs))

    assert progress[0] == rows
    assert sum(progress) == 4 * len(pairs)
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_other_rows_start_over(pairs, tmp_path):
    """A checkpoint of other data, seed or recipe is not taken for this one's."""
    checkpoints = Checkpoints(folder=tmp_path, every=0.0)
    with pytest.raises(Stop):
        tune(pairs, progress=stopping(30), checkpoints=checkpoints)
    progress: list[int] = []
    tune(pairs[1:], progress=progress.append, checkpoints=checkpoints)
    tune(pairs, rate=1e-3, progress=progress.append, checkpoints=checkpoints)

    assert progress[0] == 0
    assert sum(progress) == 4 * (2 * len(pairs) - 1)


def test_a_damaged_checkpoint_starts_over(pairs, tmp_path):
    """It is no more than time lost."""
    checkpoints = Checkpoints(folder=tmp_path, every=0.0)
    with pytest.raises(Stop):
        tune(pairs, progress=stopping(30), checkpoints=checkpoints)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-100])
    progress: list[int] = []
    resumed = weights(tune(pairs, progress=progress.append, checkpoints=checkpoints))

    assert progress[0] == 0
    assert all(torch.equal(value, resumed[name]) for name, value in weights(tune(pairs)).items())


def test_a_checkpoint_that_cannot_be_written(pairs, tmp_path):
    """Is said at once, not after an hour of training that nobody could resume."""
    (tmp_path / "state").write_text("a file where a folder should be")
    with pytest.raises(SetupError, match="checkpoint"):
        tune(pairs, checkpoints=Checkpoints(folder=tmp_path / "state", every=0.0))


def test_cleared_checkpoints_are_gone(pairs, tmp_path):
    """When the version is stored, nothing is left of them."""
    checkpoints = Checkpoints(folder=tmp_path / "topic", every=0.0)
    tune(pairs, checkpoints=checkpoints)
    assert [file.suffix for file in checkpoints.folder.iterdir()] == [".safetensors"]
    checkpoints.clear()

    assert not checkpoints.folder.exists()


# --- Files -------------------------------------------------------------------------------------------


def test_the_peft_folder_is_one(pairs, tmp_path):
    """PEFT itself loads the folder onto the base and it says the same, but for half precision."""
    model = tune(pairs)
    files = adapter_files(model, "somebody/tiny")
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT uses what transformers is about to rename
        loaded = PeftModel.from_pretrained(tiny(), str(tmp_path))
    ids = torch.tensor([pairs[0].prompt])
    with torch.inference_mode():
        expected, loaded_logits = model(input_ids=ids).logits.numpy(), loaded(input_ids=ids).logits.numpy()

    assert loaded_logits == pytest.approx(expected, abs=0.02)
    assert json.loads(files["adapter_config.json"])["base_model_name_or_path"] == "somebody/tiny"
    assert {value.dtype for value in load(files["adapter_model.safetensors"]).values()} == {torch.float16}


def test_the_same_adapter_gives_the_same_files(pairs):
    """A version is named by its content, so nothing of the moment may be in it."""
    assert adapter_files(tune(pairs), "tiny") == adapter_files(tune(pairs), "tiny")


# --- SmolLM2 -----------------------------------------------------------------------------------------

TEXTS = [
    "My card has not arrived yet.",
    "What is the exchange rate today?",
    "I lost my phone, and my card with it.",
    "Can I pay a cheque in?",
    "Somebody took money out in another country.",
]


@pytest.fixture(scope="module")
def smollm2():
    """The published model: its file, its tokens, its network."""
    pytest.importorskip("xllamacpp")
    if not {model.name: path for model, path in installed()}["smollm2"]:
        pytest.skip("smollm2 is not here: coterie models pull smollm2")
    base = find_causal_base("small", LlamaModel(engine="llama", name="smollm2"), Path())
    return base, load_tokens(base), load_causal(base, dtype=torch.float32)


def random_adapter(network) -> PeftModel:
    """An adapter of random weights, so strong that queries and keys with their rows in the wrong order show."""
    model = add_adapter(network, rank=8, alpha=16, modules=ATTENTION + FEED_FORWARD)
    torch.manual_seed(1)
    for name, value in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(value, std=0.2)
    return model.eval()


@torch.inference_mode()
def next_tokens(model, tokens, text) -> np.ndarray:
    """Log-probability of each token behind a text."""
    ids = torch.tensor([tokens.raw(text, "").prompt])
    return model(input_ids=ids).logits[0, -1].log_softmax(-1).numpy()


def served(engine, text, scale: float) -> dict[int, float]:
    """The likeliest tokens behind a text in llama.cpp, and their log-probabilities."""
    body = {"prompt": text, "max_tokens": 1, "n_probs": 20, "temperature": 0, "lora": [{"id": 0, "scale": scale}]}
    answer = engine._model.load().handle_completions(body)
    return {entry["id"]: entry["logprob"] for entry in answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]}


@pytest.mark.slow
async def test_llama_cpp_says_what_peft_says(smollm2, tmp_path):
    """The GGUF adapter on the GGUF base gives the probabilities of the PEFT model on the same weights.

    llama.cpp rounds activations, the base's as much as the adapted ones (.10 on average here): so with the adapter it
    may be off by hardly more than without, and names the same token first or one as likely, while the adapter changes
    much. With the rows of queries and keys in transformers' order it would be off by more than twice that.
    """
    base, tokens, network = smollm2
    model = random_adapter(network)
    path = tmp_path / GGUF_ADAPTER
    path.write_bytes(adapter_files(model, base.repository)[GGUF_ADAPTER])
    engine = LlamaEngine("small", base.path, threads=1, parallel=1, window=256, adapters={"random": path})
    off, off_before, change = [], [], []
    try:
        for text in (f"Text: {text}\nLabel:" for text in TEXTS):
            expected = next_tokens(model, tokens, text)
            with model.disable_adapter():
                before = next_tokens(model, tokens, text)
            logprobs, said_before = served(engine, text, 1.0), served(engine, text, 0.0)
            assert expected.max() - expected[max(logprobs, key=logprobs.get)] < 0.3  # the same, or nearly as likely
            off += [abs(value - expected[token]) for token, value in logprobs.items()]
            off_before += [abs(value - before[token]) for token, value in said_before.items()]
            change += [abs(expected[token] - before[token]) for token in logprobs]
    finally:
        await engine.close()
        model.unload()

    assert np.mean(off) < 1.3 * np.mean(off_before)
    assert np.mean(change) > 4 * np.mean(off)


@pytest.mark.slow
async def test_a_chat_is_cut_into_the_tokens_that_are_served(smollm2):
    """Training reads the prompt that llama.cpp makes of the same messages: as many tokens of it, and the same end."""
    base, tokens, _ = smollm2
    messages = Drafting(instruction="Thank the customer.").messages(
        message="Where is it?", key="card_arrival", source="X."
    )
    engine = LlamaEngine("small", base.path, threads=1, parallel=1, window=256)
    try:
        (output,) = await engine.run([Prompt(messages=messages, max_tokens=1)])
    finally:
        await engine.close()
    pair = tokens.chat(messages, "Thank you.")

    assert output.usage.tokens_in == len(pair.prompt)
    assert tokens.tokenizer.decode(pair.completion) == "Thank you.<|im_end|>"


@pytest.mark.slow
def test_a_base_is_given_back_as_it_was(smollm2):
    """One network serves several trainings after each other: the second is what it would have been alone."""
    base, tokens, network = smollm2
    pairs = [tokens.raw("Text: hello\nLabel:", " greeting"), tokens.raw("Text: bye\nLabel:", " farewell")]
    recipe = LoraRecipe(epochs=2, batch=2)
    files = []
    for _ in range(2):
        model = tune_adapter(network, pairs, base_sha256=base.sha256, recipe=recipe, seed=0, progress=lambda rows: None)
        files.append(adapter_files(model, base.repository))
        assert model.unload() is network

    assert files[0] == files[1]


@pytest.mark.slow
def test_tokens_are_read_once(smollm2):
    """The second specialist of a training that is tuned from a base gets the tokenizer that the first one read."""
    base, tokens, _ = smollm2

    assert load_tokens(base) is tokens


def test_fields_are_the_same_cut_from_a_plain_array(tmp_path):
    """While a model is read its file is a plain array, with the same fields and tensors; afterwards it is as it was."""
    path = tmp_path / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_token_list(["one", "zwei", "trois"])
    writer.add_context_length(64)
    writer.add_tensor("output.weight", np.arange(12, dtype=np.float32).reshape(3, 4))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    slow = gguf.GGUFReader(path)
    with plain_bytes():
        quick = gguf.GGUFReader(path)

    assert type(quick.data) is np.ndarray
    assert quick.fields.keys() == slow.fields.keys()
    assert all(quick.fields[name].contents() == field.contents() for name, field in slow.fields.items())
    assert np.array_equal(quick.get_tensor(0).data, slow.get_tensor(0).data)
    assert gguf.GGUFReader is type(slow)


def test_a_table_of_names_is_made_once():
    """While a model is read, whoever asks for the names of its tensors gets one table; afterwards nothing is kept."""
    make = gguf.get_tensor_name_map
    with one_table_of_names():
        tables = [gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 2) for _ in range(2)]
    assert tables[0] is tables[1]
    assert gguf.get_tensor_name_map is make
