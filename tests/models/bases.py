"""Very small base models of random weights, in the hub's layout."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM


def write_bert(folder: Path, tokenizer: Tokenizer, words: list[str], *, layers: int, positions: int) -> None:
    """A BERT of narrow layers over these words, with its tokenizer and a card that names the licence."""
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=64,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        max_position_embeddings=positions,
    )
    BertModel(config).save_pretrained(folder)
    (folder / "README.md").write_text("---\nlibrary_name: x\nlicense: cc0-1.0\n---\n# Tiny\n")


def tiny_llama(*, hidden: int, layers: int, heads: int) -> LlamaForCausalLM:
    """A Llama of narrow layers over sixty tokens."""
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=61,
            hidden_size=hidden,
            intermediate_size=hidden + hidden // 2,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=heads // 2,
            pad_token_id=0,
        )
    )


class HashTokenizer:
    """A token a word: its hash; the chat template is roles and texts, one after the other."""

    eos_token_id = 3
    add_bos_token = False

    def __call__(self, text, *, add_special_tokens):
        ids = [4 + sum(map(ord, word)) % 57 for word in text.split()]
        return type("Encoding", (), {"input_ids": ids})()

    def apply_chat_template(self, messages, *, tokenize, add_generation_prompt):
        return " ".join(f"<{message['role']}> {message['content']}" for message in messages)
