"""`coterie init`: a new network's folder."""

import shutil
from pathlib import Path

import pytest

from coterie.cli import add
from coterie.config.file import load_config


def test_minimal_network(run, tmp_path):
    """Without an example: a commented coterie.toml that is valid as it stands, and the next steps."""
    result = run("init", tmp_path / "net")

    assert result.code == 0
    assert load_config(tmp_path / "net").network.name == "net"
    assert f"coterie -C {tmp_path / 'net'} train" in result.out


def test_the_commented_lines_are_valid(tmp_path):
    """What the template suggests in comments is accepted once the comment signs are gone."""
    text = add.TEMPLATE.read_text().replace("{name}", '"x"')
    lines = [line.removeprefix("# ") for line in text.splitlines() if line.startswith(("# [", "[")) or " = " in line]
    lines = [line for line in lines if "coterie add" not in line]
    (tmp_path / "coterie.toml").write_text("\n".join(lines))

    config = load_config(tmp_path)

    assert config.specialists["triage"].bar == {"accuracy": 0.9}
    assert config.generalist is not None


@pytest.mark.parametrize("name", ['qu"ote', "ünïcode", "back\\slash", "new\nline", "a b"])
def test_odd_folder_names(run, tmp_path, name):
    """A folder's name becomes the network's name whatever characters it has."""
    assert run("init", tmp_path / name).code == 0
    assert load_config(tmp_path / name).network.name == name


def test_an_existing_network_is_left_alone(run, folder):
    """A folder with a coterie.toml is refused, and nothing in it changes."""
    before = (folder / "coterie.toml").read_bytes()

    for more in ((), ("--example", "lender")):
        result = run("init", folder, *more)
        assert result.code == 2
        assert "already has a coterie.toml" in result.err
    assert (folder / "coterie.toml").read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == ["coterie.toml", "data"]


def test_example(run, tmp_path):
    """With an example: its coterie.toml and data, and nothing that running it had made."""
    result = run("init", tmp_path / "lender", "--example", "lender", "--json")

    assert result.json["files"] == ["coterie.toml", "data", "documents"]
    config = load_config(tmp_path / "lender")
    assert {"triage", "clauses", "underwriting", "reply", "ask"} <= set(config.specialists)
    for section in config.specialists.values():
        assert section.data is None or (tmp_path / "lender" / section.data).is_file()
    for index in config.knowledge.values():
        assert all((tmp_path / "lender" / path).is_dir() for path in index.paths)
    assert not [path for path in (tmp_path / "lender").iterdir() if path.name.startswith(".")]


def test_example_into_a_folder_in_use(run, tmp_path):
    """An example moves in beside other files, and overwrites none."""
    (tmp_path / "README.md").write_text("mine")
    assert run("init", tmp_path, "--example", "lender").code == 0
    assert (tmp_path / "README.md").read_text() == "mine"

    (tmp_path / "coterie.toml").unlink()
    result = run("init", tmp_path, "--example", "lender")
    assert result.code == 2
    assert "'data'" in result.err


def test_unknown_example(run, tmp_path):
    """A wrong example name is answered with those there are, and makes nothing."""
    result = run("init", tmp_path / "x", "--example", "../lender")

    assert result.code == 2
    assert "lender" in result.err
    assert not (tmp_path / "x").exists()


def test_an_interrupted_copy_leaves_no_network(run, tmp_path, monkeypatch):
    """Ctrl-C while the example is copied leaves an empty folder, not half a network."""

    def interrupted(source: Path, target: Path, **_: object) -> None:
        target.mkdir()
        (target / "coterie.toml").write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "copytree", interrupted)
    result = run("init", tmp_path / "net", "--example", "lender")

    assert result.code == 130
    assert list((tmp_path / "net").iterdir()) == []


def test_relative_to_the_chosen_folder(run, tmp_path):
    """`-C` moves where DIR starts from."""
    assert run("-C", tmp_path, "init", "net").code == 0
    assert (tmp_path / "net" / "coterie.toml").exists()
