"""`coterie add`: one more specialist in the network's file."""

import json
import os
import subprocess
import sys
import tomllib

import pytest

from coterie.config.file import load_config


@pytest.fixture
def rows(tmp_path, write_rows):
    """A data file outside the network's folder."""
    return write_rows(tmp_path / "elsewhere" / "tickets.csv")


def test_adds_a_table(run, folder, rows):
    """The specialist is in the file as asked, with the data copied into the folder."""
    result = run(
        *("-C", folder, "add", "tickets", "--task", "classify", "--data", rows),
        *(
            "--licence",
            "CC-BY-4.0",
            "--description",
            'Sorts "tickets"',
            "--bar",
            "accuracy=0.9",
            "--bar",
            "macro_f1=0.8",
            "--target-risk",
            "0.1",
        ),
    )

    assert result.code == 0, result.err
    section = load_config(folder).specialists["tickets"]
    assert section.description == 'Sorts "tickets"'
    assert section.bar == {"accuracy": 0.9, "macro_f1": 0.8}
    assert section.target_risk == 0.1
    assert section.data == "data/tickets.csv"
    assert section.licence == "CC-BY-4.0"
    assert (folder / "data" / "tickets.csv").read_bytes() == rows.read_bytes()
    assert f"Copied {rows} to data/tickets.csv" in result.out
    assert f"coterie -C {folder} train tickets" in result.out


def test_keeps_what_is_there(run, folder, rows):
    """Comments and order stay to the byte: the new table is only appended."""
    before = (folder / "coterie.toml").read_text()
    run("-C", folder, "add", "tickets", "--data", rows)

    assert (folder / "coterie.toml").read_text().startswith(before)


def test_keeps_line_ends(run, folder, rows):
    """A file with CRLF line ends keeps them, in the new table too."""
    path = folder / "coterie.toml"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    run("-C", folder, "add", "tickets", "--data", rows)

    assert path.read_bytes().count(b"\n") == path.read_bytes().count(b"\r\n")
    assert "tickets" in load_config(folder).specialists


def test_data_inside_the_folder_stays(run, folder, monkeypatch, write_rows):
    """A file of the folder is named relative to it, wherever the command is started, and not copied."""
    write_rows(folder / "data" / "more.csv")
    monkeypatch.chdir(folder / "data")
    result = run("-C", "..", "add", "more", "--data", "more.csv", "--json")

    assert result.json["settings"]["data"] == "data/more.csv"
    assert result.json["copied"] == {}
    assert result.json["rows"] == {"data": 24}


def test_data_named_from_the_folder(run, folder, monkeypatch, tmp_path, write_rows):
    """A path that does not exist here is looked for in the network's folder."""
    write_rows(folder / "data" / "more.csv")
    monkeypatch.chdir(tmp_path)

    assert run("-C", folder, "add", "more", "--data", "data/more.csv").code == 0


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Tickets", "'tickets'"),
        ("2nd", "'nd'"),
        ("my tickets", "'my-tickets'"),
        ("Übung", "'ubung'"),
        ("x" * 64, "x"),
        ("", ""),
        ("router", ""),
    ],
)
def test_wrong_names(run, folder, rows, name, hint):
    """A name that cannot be one is refused with one that can; nothing is written."""
    before = (folder / "coterie.toml").read_bytes()
    result = run("-C", folder, "add", name, "--data", rows)

    assert result.code == 2
    assert repr(name) in result.err
    assert hint in result.err
    assert (folder / "coterie.toml").read_bytes() == before


def test_taken_names(run, folder, rows):
    """A name that is taken is refused, and the existing specialist stays."""
    before = (folder / "coterie.toml").read_bytes()
    (folder / "data" / "triage.csv").write_text("its own rows")
    result = run("-C", folder, "add", "triage", "--data", rows)

    assert result.code == 2
    assert "'triage'" in result.err
    assert (folder / "coterie.toml").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--task", "sing"), "classify"),
        (("--bar", "accuracy=2"), "less than or equal to 1"),
        (("--bar", "speed=1"), "accuracy"),
        (("--bar", "accuracy"), "METRIC=VALUE"),
        (("--bar", "accuracy=nan"), "equal to 1"),
        (("--target-risk", "1"), "less than 1"),
        (("--target-risk", "0"), "greater than 0"),
        (("--task", "generate"), "model"),
        (("--text-column", "body"), "body"),
        (("--label-column", "topic"), "topic"),
        (("--data", "no-such-file.csv"), "no-such-file.csv"),
        (("--test", "no-such-file.csv"), "no-such-file.csv"),
    ],
)
def test_wrong_settings_change_nothing(run, folder, rows, options, said):
    """A setting or file that does not fit is explained, and neither coterie.toml nor the data folder changes."""
    before = (folder / "coterie.toml").read_bytes()
    result = run("-C", folder, "add", "tickets", "--data", rows, *options)

    assert result.code == 2
    assert said in result.err
    assert (folder / "coterie.toml").read_bytes() == before
    assert [path.name for path in (folder / "data").iterdir()] == ["triage.csv"]


def test_bad_rows_change_nothing(run, folder, tmp_path):
    """Data that cannot be used is refused before anything is written."""
    bad = tmp_path / "bad.csv"
    bad.write_text("text,label\n,a\n")
    result = run("-C", folder, "add", "tickets", "--data", bad, "--json")

    assert result.code == 2
    assert result.json["error"]["code"] == "data_error"
    assert "tickets" not in load_config(folder).specialists


def test_a_folder_is_no_file(run, folder, tmp_path):
    """It is there, so that it is not said to be missing."""
    (tmp_path / "rows.csv").mkdir()
    result = run("-C", folder, "add", "tickets", "--data", tmp_path / "rows.csv")

    assert result.code == 2
    assert "is a folder" in result.err


def test_another_file_in_the_way(run, folder, rows):
    """A different file where the copy would go is not overwritten; the same file is used as it is."""
    (folder / "data" / "tickets.csv").write_text("something else")
    refused = run("-C", folder, "add", "tickets", "--data", rows)
    assert refused.code == 2
    assert (folder / "data" / "tickets.csv").read_text() == "something else"

    (folder / "data" / "tickets.csv").write_bytes(rows.read_bytes())
    assert run("-C", folder, "add", "tickets", "--data", rows).code == 0


def test_held_out_data_is_copied_too(run, folder, rows, tmp_path, write_rows):
    """`--test` names a second file, copied beside the first."""
    held_out = write_rows(tmp_path / "held.csv", per_label=3)
    result = run("-C", folder, "add", "tickets", "--data", rows, "--test", held_out, "--json")

    assert result.json["rows"] == {"data": 24, "test": 6}
    assert load_config(folder).specialists["tickets"].test == "data/tickets.test.csv"


@pytest.mark.parametrize(
    "text", ["", "# only a comment", "[specialists]", '[models.m]\nengine = "llama"\nname = "m"\n']
)
def test_files_of_any_form(run, folder, rows, text):
    """The table finds its place in an empty file, after comments, and after other tables."""
    (folder / "coterie.toml").write_text(text)

    assert run("-C", folder, "add", "tickets", "--data", rows).code == 0
    assert list(load_config(folder).specialists) == ["tickets"]


def test_dotted_keys(run, folder, rows):
    """Specialists written as dotted keys are kept as they are, beside the new table."""
    text = 'specialists.a.task = "classify"\nspecialists.a.data = "data/triage.csv"\n'
    (folder / "coterie.toml").write_text(text)
    run("-C", folder, "add", "tickets", "--data", rows)

    assert list(load_config(folder).specialists) == ["a", "tickets"]


def test_files_that_take_no_table(run, folder, rows):
    """Specialists written inline cannot be extended by a table: the user gets the lines to add by hand."""
    text = 'specialists = {a = {task = "classify", data = "data/triage.csv"}}\n'
    (folder / "coterie.toml").write_text(text)
    result = run("-C", folder, "add", "tickets", "--data", rows)

    assert result.code == 1
    assert "[specialists.tickets]" in result.err
    assert (folder / "coterie.toml").read_text() == text


def test_an_invalid_file_is_not_touched(run, folder, rows):
    """A coterie.toml with a mistake is reported as it is for every command."""
    (folder / "coterie.toml").write_text("[netwrok]\n")
    result = run("-C", folder, "add", "tickets", "--data", rows)

    assert result.code == 1
    assert "network" in result.err


def test_two_at_once_lose_nothing(folder, rows):
    """Processes that add at the same time wait for each other: every specialist is in the file."""
    names = [f"tickets{i}" for i in range(6)]
    command = (sys.executable, "-m", "coterie", "-C", str(folder), "add")
    running = [subprocess.Popen([*command, name, "--data", str(rows), "--json"], stdout=-1) for name in names]
    for process in running:
        process.communicate()

    assert [process.returncode for process in running] == [0] * 6
    assert set(load_config(folder).specialists) >= set(names)


def test_a_failing_disk_leaves_the_old_file(run, folder, rows, monkeypatch):
    """When the new coterie.toml cannot be put in place, the old one stays whole and no draft is left."""
    before = (folder / "coterie.toml").read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device", "coterie.toml")

    monkeypatch.setattr(os, "fsync", fail)
    result = run("-C", folder, "add", "tickets", "--data", rows)

    assert result.code == 1
    assert "No space left" in result.err
    assert (folder / "coterie.toml").read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == ["coterie.toml", "data"]


def test_a_writer_needs_pairs_and_a_model(run, folder, tmp_path):
    """`generate` without a fact to read takes texts with replies, and says what is missing."""
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("text,reply\n" + "".join(f"say {n},said {n}\n" for n in range(60)), encoding="utf-8")
    add = ("-C", folder, "add", "rewrite", "--task", "generate", "--data", pairs)
    refused = run(*add)
    path = folder / "coterie.toml"
    path.write_text(path.read_text() + '\n[models.small]\nengine = "llama"\nname = "smollm2"\n', encoding="utf-8")
    added = run(*add, "--model", "small")

    assert refused.code != 0
    assert "task 'generate' needs `model`" in refused.err
    assert added.code == 0, added.err
    assert load_config(folder).specialists["rewrite"].writes_freely


def test_an_answer_needs_no_data(run, folder):
    """A specialist that reads an index is added without a file."""
    path = folder / "coterie.toml"
    path.write_text(path.read_text() + "\n[knowledge.policies]\n")

    result = run("-C", folder, "add", "ask", "--task", "answer", "--knowledge", "policies")

    assert result.code == 0, result.err
    section = load_config(folder).specialists["ask"]
    assert (section.task, section.knowledge, section.data) == ("answer", ("policies",), None)


def test_an_answer_needs_a_index(run, folder):
    """Without one, nothing is added and the message says what is missing."""
    result = run("-C", folder, "add", "ask", "--task", "answer")

    assert result.code == 2
    assert "needs `knowledge`" in result.err


def test_a_chain(run, folder, rows):
    """`--chain` is written as the list that the file has, and one that cannot be changes nothing."""
    refused = run("-C", folder, "add", "odd", "--data", rows, "--chain", "encoder,lexical")
    done = run("-C", folder, "add", "tickets", "--data", rows, "--chain", "lexical, encoder")

    assert refused.code == 2
    assert "in this order" in refused.err
    assert done.code == 0, done.err
    assert load_config(folder).specialists["tickets"].chain == ("lexical", "encoder")
    assert "odd" not in load_config(folder).specialists


@pytest.mark.parametrize("typed", [("--rungs", "lexical, embedding"), ("--rung", "lexical", "--rung", "embedding")])
def test_rungs(run, folder, rows, typed):
    """Rungs are typed as everywhere else, with commas between them, or one after the other."""
    assert run("-C", folder, "add", "tickets", "--data", rows, *typed).code == 0
    assert load_config(folder).specialists["tickets"].rungs == ("lexical", "embedding")


def test_functions_of_a_file(run, folder, tmp_path):
    """Functions are read from a JSON file, bare or as OpenAI's `tools`, and written as tables behind all plain keys."""
    rows = [{"text": f"lock door {n}", "function": "lock"} for n in range(20)]
    rows += [{"text": f"lamp {n} on", "function": "light", "arguments": {"n": n}} for n in range(20)]
    data, functions = tmp_path / "calls.jsonl", tmp_path / "functions.json"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    number = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    listed = [{"type": "function", "function": {"name": "light", "parameters": number}}, {"name": "lock"}]
    functions.write_text(json.dumps(listed))
    words = [
        "-C",
        folder,
        "add",
        "home",
        "--functions",
        str(functions),
        "--task",
        "tools",
        "--data",
        str(data),
        "--seed",
        "3",
    ]

    assert run(*words).code == 0
    section = tomllib.loads((folder / "coterie.toml").read_text())["specialists"]["home"]
    assert section["functions"] == [{"name": "light", "parameters": number}, {"name": "lock"}]
    assert section["seed"] == 3
    functions.write_text('{"name": "lock"}')
    assert run(*words[:3], "other", *words[4:]).code == 2
    assert run(*words[:3], "other", "--functions", "nowhere.json", *words[6:]).code == 2
