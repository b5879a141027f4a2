"""Trained specialists as immutable versions named by their content, with aliases for the one that serves."""

from ._card import write_card
from ._compare import Change, Comparison, changed, compare
from ._export import export_version
from ._history import Succession
from ._promotion import champion_of, judge, promote_version, shortfalls
from ._registry import CANDIDATE, CHAMPION, REGISTRY_FOLDER, Registry, open_registry
from ._report import figure, interval_of, measures
from ._sbom import bill_of_materials
from ._signature import Signature, SignatureState, Signer, Trust, is_attested, open_signer, write_key
from ._version import Version

__all__ = [
    "CANDIDATE",
    "CHAMPION",
    "REGISTRY_FOLDER",
    "Change",
    "Comparison",
    "Registry",
    "Signature",
    "SignatureState",
    "Signer",
    "Succession",
    "Trust",
    "Version",
    "bill_of_materials",
    "champion_of",
    "changed",
    "compare",
    "export_version",
    "figure",
    "interval_of",
    "is_attested",
    "judge",
    "measures",
    "open_registry",
    "open_signer",
    "promote_version",
    "shortfalls",
    "write_card",
    "write_key",
]
