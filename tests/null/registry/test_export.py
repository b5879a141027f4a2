"""Exports: complete, checkable, whole or not at all."""

import os

import pytest

from coterie.errors import InputError, SetupError
from coterie.registry.export import export_version
from coterie.registry.registry import Registry
from coterie.registry.signature import Trust, open_signer, write_key


def test_what_was_exported_can_be_checked(registry, tmp_path):
    """An export, without its README.md, is the version: put into another registry it loads, signature and all."""
    _, public = write_key(tmp_path / "key.pem")
    signer = open_signer("key.pem", tmp_path)
    version = Registry(registry.root, signer=signer).add("triage", {"card.md": b"#", "model.json": b"{}"})
    other = Registry(tmp_path / "other", trust=Trust(keys=frozenset({public}), required=True))

    export_version(registry.load("triage", version), other.root / "triage" / version)
    (other.root / "triage" / version / "README.md").unlink()

    assert other.load("triage", version).files == {"card.md": b"#", "model.json": b"{}"}


@pytest.mark.parametrize("name", ["out", "out.zip"])
def test_an_export_that_fails_leaves_nothing(registry, add, tmp_path, monkeypatch, name):
    """Where the disk is full there is no folder, no file and no half of one."""
    version = registry.load("triage", add("first"))

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SetupError, match="No space left"):
        export_version(version, tmp_path / "to" / name)
    assert list((tmp_path / "to").iterdir()) == []


def test_a_dangling_link_is_not_written_through(registry, add, tmp_path):
    """A link where the export should be is something that is there."""
    (tmp_path / "out").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(InputError, match="exists already"):
        export_version(registry.load("triage", add("first")), tmp_path / "out")
