"""The lender network, trained: the one given, or `demo/`, made and trained with the `coterie` command if need be.

A benchmark works on a copy without what it does not need, so the network it is given keeps its ledger and its versions.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import tomlkit

from _record import ROOT
from coterie.config.file import load_config
from coterie.config.section import FILE_NAME
from coterie.models.catalogue import installed
from coterie.registry.registry import REGISTRY_FOLDER

DEMO = ROOT / "demo"
SMALL = ("triage", "clauses", "underwriting")
"""The specialists that need no generative model."""


def add_network(parser: argparse.ArgumentParser, *, default: Path | None = DEMO) -> None:
    """The option that names a trained lender network."""
    what = "trained lender network" + (
        " (default: demo, trained if need be)" if default else "; left out, one is trained"
    )
    parser.add_argument("--network", type=Path, default=default, metavar="DIR", help=what)


def ready(folder: Path) -> Path:
    """The folder, as a lender network whose small specialists are trained."""
    if not (folder / FILE_NAME).exists():
        _coterie("init", str(folder), "--example", "lender")
    missing = [name for name in SMALL if not (folder / REGISTRY_FOLDER / name / "champion").exists()]
    if missing:
        _coterie("-C", str(folder), "train", *missing)
    return folder


def copy_network(folder: Path, target: Path, names: Iterable[str] = SMALL) -> Path:
    """A copy of a network with only these specialists, and without models, ledger and sessions."""
    names = set(names)
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("state"))
    document = tomlkit.parse((target / FILE_NAME).read_text(encoding="utf-8"))
    for name in set(document["specialists"]) - names:
        del document["specialists"][name]
    used = {section.model for name, section in load_config(folder).specialists.items() if name in names}
    for name in set(document.get("models", ())) - used:
        del document["models"][name]
    document.pop("generalist", None)
    (target / FILE_NAME).write_text(tomlkit.dumps(document), encoding="utf-8")
    load_config(target)
    return target


def has_smollm2() -> bool:
    """Whether the model that `reply` writes with is on this machine."""
    return any(model.name == "smollm2" and path is not None for model, path in installed())


def _coterie(*arguments: str) -> None:
    print(f"$ coterie {' '.join(arguments)}", flush=True)
    done = subprocess.run([sys.executable, "-m", "coterie", *arguments], check=False)  # noqa: S603
    if done.returncode:
        sys.exit(f"coterie {arguments[0]} ended with exit code {done.returncode}.")
