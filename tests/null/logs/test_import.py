"""`coterie import` from log files to files that `coterie add` and `train` read at once."""

from __future__ import annotations

import csv
import gzip
import json
import random
import stat

import pytest

from coterie.cli.app import main
from coterie.logs.rows import import_logs

WORDS = {"delivery": "parcel courier package late", "refund": "money back return paid", "card": "card lost stolen pin"}


def call(text, answer, system="Sort the message.", **more):
    content = answer if isinstance(answer, str) else json.dumps(answer)
    return {
        "request": {"messages": [{"role": "system", "content": system}, {"role": "user", "content": text}]},
        "response": {"choices": [{"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}]},
        **more,
    }


def calls(n=90, **more):
    """Calls of an app that wants five fields of a message."""
    dice = random.Random(7)
    for i in range(n):
        intent = list(WORDS)[i % 3]
        text = f"{' '.join(dice.choices(WORDS[intent].split(), k=4))}, order A-{1000 + i}, please help {i}"
        answer = {
            "intent": intent if i % 10 else f" {intent.upper()}.",
            "urgent": i % 2 == 0,
            "order": {"id": f"A-{1000 + i}"},
            "tags": ["vip"] if i % 3 else ["vip", "new"],
            "summary": f"The customer writes about {intent}, and it is number {i} of the day.",
            "score": i / 7,
            "language": "en",
        }
        yield call(text, answer, **more)


def write(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def lines(path):
    """The rows of a training file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def log(tmp_path):
    return write(tmp_path / "log.jsonl", calls())


def test_an_answer_is_taken_apart(log, tmp_path):
    """A file a field with its task: label sets, several labels, quotes, free text; the rest is named."""
    report = import_logs([log], tmp_path / "out")
    files = {file.name: file for file in report.files}

    assert {name: file.task for name, file in files.items()} == {
        "intent.jsonl": "classify",
        "urgent.jsonl": "classify",
        "tags.jsonl": "classify",
        "summary.jsonl": "generate",
        "fields.jsonl": "extract",
    }
    assert files["intent.jsonl"].labels == {"delivery": 30, "refund": 30, "card": 30}
    assert files["urgent.jsonl"].labels == {"true": 45, "false": 45}
    assert files["tags.jsonl"].multi_label
    assert {name: report.fields[name].form() for name in ("score", "language")} == {"score": None, "language": None}
    first = lines(tmp_path / "out/intent.jsonl")[0]
    assert (first["label"], first["source"]) == ("delivery", "log.jsonl:1")
    assert lines(tmp_path / "out/fields.jsonl")[0]["fields"] == {"order_id": "A-1000"}
    assert stat.S_IMODE((tmp_path / "out/intent.jsonl").stat().st_mode) == 0o600


def test_files_are_ready_for_training(log, tmp_path, monkeypatch, capsys):
    """The printed commands add every file, and the classifiers are trained and asked."""
    monkeypatch.chdir(tmp_path)
    assert main(["import", "log.jsonl", "--json"]) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert main(["init", "net"]) == 0
    with (tmp_path / "net/coterie.toml").open("a") as config:
        config.write('\n[models.small]\nengine = "llama"\nname = "small.gguf"\n')
    for file in files:
        words = ["small" if word == "MODEL" else word for word in file["add"]]
        assert main(["-C", "net", "add", *words]) == 0, capsys.readouterr().err
    assert main(["-C", "net", "train", "intent", "tags"]) == 0
    capsys.readouterr()
    assert main(["-C", "net", "ask", "--specialist", "intent", "my parcel is late, courier", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["findings"][0]["value"] == "delivery"


def test_a_hostile_log(tmp_path):
    """Broken lines, other encodings, failures, duplicates and huge lines are counted; what is good is read."""
    good = [json.dumps(record).encode() for record in calls(30)]
    latin = json.dumps(call("Wo ist das Päckchen für Jürgen?", {"intent": "delivery"}), ensure_ascii=False)
    path = tmp_path / "log.jsonl"
    path.write_bytes(
        b"\n".join(
            [
                b"\xef\xbb\xbf" + good[0],
                *good[1:],
                good[3],
                b'{"request": {"mess',
                b"5",
                b"{" + b'"a":{' * 100_000,
                b"",
                latin.encode("cp1252"),
                json.dumps(call("x" * 10_000_000, {"intent": "card"})).encode(),
                json.dumps({**call("boom", {}), "error": "timeout"}).encode(),
                json.dumps(call("half \ud83d of a character \u0000", {"intent": "card"})).encode(),
                json.dumps({"hello": 1}).encode(),
            ]
        )
    )
    report = import_logs([path], tmp_path / "out", only=["intent"])

    assert report.exchanges == 34
    assert {key: report.skipped[key] for key in ("broken", "not_utf8", "error", "duplicate", "unknown")} == {
        "broken": 3,
        "not_utf8": 1,
        "error": 1,
        "duplicate": 1,
        "unknown": 1,
    }
    rows = lines(tmp_path / "out/intent.jsonl")
    assert len(rows) == 33
    assert "Wo ist das Päckchen für Jürgen?" in {row["text"] for row in rows}
    assert main(["init", str(tmp_path / "net")]) == 0
    assert main(["-C", str(tmp_path / "net"), "add", *report.files[0].arguments(tmp_path / "out")]) == 0


@pytest.mark.parametrize(
    "form", ["array", "pretty array", "pretty objects", "gzip", "utf-16", "csv", "semicolons", "bom array"]
)
def test_containers(tmp_path, form):
    """The same calls in an array, over several lines, packed, in UTF-16 and as a CSV."""
    records = list(calls(24))
    path = tmp_path / "log"
    if form in {"csv", "semicolons"}:
        with path.open("w", newline="") as file:
            rows = csv.writer(file, delimiter="," if form == "csv" else ";")
            rows.writerow(["id", "traceId", "input", "output"])
            for record in records:
                answer = record["response"]["choices"][0]["message"]
                rows.writerow(["o", "t", json.dumps(record["request"]["messages"]), json.dumps(answer)])
    else:
        text = {
            "array": json.dumps(records),
            "bom array": "\ufeff" + json.dumps(records),
            "pretty array": json.dumps(records, indent=2),
            "pretty objects": "\n".join(json.dumps(record, indent=2) for record in records),
        }.get(form, "\n".join(map(json.dumps, records)))
        data = text.encode("utf-16" if form == "utf-16" else "utf-8")
        path.write_bytes(gzip.compress(data) if form == "gzip" else data)
    report = import_logs([path], None)

    assert (report.exchanges, dict(report.skipped)) == (24, {})


def test_several_call_sites(tmp_path):
    """Calls with other instructions are another job: each has a file of its own, small ones share one."""
    records = [*calls(30), *(call(f"{i} text", {"intent": "ab"[i % 2]}, system="Another job.") for i in range(20))]
    records += [call(f"{i} odd", {"intent": "delivery"}, system=f"On day {i}") for i in range(4)]
    report = import_logs([write(tmp_path / "l.jsonl", records)], tmp_path / "out", only=["intent"])

    assert sorted(file.rows for file in report.files) == [4, 20, 30]
    assert {report.sites.get(file.site, file.site) for file in report.files} == {
        "Sort the message.",
        "Another job.",
        "other",
    }
    assert [file.labels for file in report.files if file.rows == 20] == [{"a": 10, "b": 10}]


@pytest.mark.parametrize("answer", ["```json\n{}\n```", "```\n{}\n```", "{}", " {} \n"])
def test_json_in_a_fence(tmp_path, answer):
    """As models like to write it."""
    records = [call(f"text {i}", answer.replace("{}", json.dumps({"intent": "ab"[i % 2]}))) for i in range(20)]
    (file,) = import_logs([write(tmp_path / "l.jsonl", records)], None).files

    assert (file.name, file.labels) == ("intent.jsonl", {"a": 10, "b": 10})


def test_answers_that_are_labels(tmp_path):
    """A plain answer that comes again is a label; the usual spelling counts."""
    records = [call(f"text {i}", ["Refund", "refund.", "Refund", "Delivery"][i % 4]) for i in range(40)]
    (file,) = import_logs([write(tmp_path / "l.jsonl", records)], None).files

    assert (file.name, file.task, file.labels) == ("answer.jsonl", "classify", {"Refund": 30, "Delivery": 10})


@pytest.mark.parametrize(("stray", "multi_label"), [(2, False), (20, True)])
def test_a_few_lists_make_no_field_of_lists(tmp_path, stray, multi_label):
    """A model that slips in a few answers does not turn labels into lists; those answers are counted and left out."""
    answers = [["delivery"]] + [[], ["delivery", "card"]] * (stray // 2) + ["delivery", "refund", "card"] * 20
    log = write(tmp_path / "log.jsonl", [call(f"message {i} of the day", answer) for i, answer in enumerate(answers)])
    found = import_logs([log], tmp_path / "out")
    [file] = found.files
    assert (file.multi_label, found.skipped["stray_list"]) == (multi_label, 0 if multi_label else stray)
    assert isinstance(lines(tmp_path / "out" / file.name)[0]["label"], list) is multi_label


def test_the_same_text_with_another_answer_is_told(tmp_path):
    """Both rows stay, and the contradiction is counted."""
    records = [*calls(30), call("the same", {"intent": "card"}), call("the same", {"intent": "refund"})]
    report = import_logs([write(tmp_path / "l.jsonl", records)], None, only=["intent"])

    assert report.conflicting == 1
    assert report.files[0].rows == 32


def test_a_task_may_be_named(log, tmp_path):
    """In place of what the values suggest."""
    (file,) = import_logs([log], tmp_path / "out", only=["order.id"], task="generate").files

    assert file.task == "generate"
    assert lines(tmp_path / "out/order.id.jsonl")[0]["reply"] == "A-1000"


def test_what_is_asked_for_and_not_there(log, tmp_path, capsys):
    """A field that no answer has, a task that is none, a file that would be overwritten, a file without calls."""
    for words, problem in (
        (["--field", "intnet"], "No field 'intnet'"),
        (["--task", "score"], "'score'"),
    ):
        assert main(["import", str(log), "--out", str(tmp_path / "out"), *words]) == 2
        assert problem in capsys.readouterr().err
    empty = tmp_path / "empty.jsonl"
    empty.write_text('{"hello": 1}\n')
    for path, problem in ((empty, "1 unknown"), (tmp_path / "none", "none"), (tmp_path, str(tmp_path))):
        assert main(["import", str(path)]) == 2
        assert problem in capsys.readouterr().err
    assert main(["import", str(log), "--out", str(tmp_path / "out")]) == 0
    before = (tmp_path / "out/intent.jsonl").read_bytes()
    assert main(["import", str(log), "--out", str(tmp_path / "out")]) == 2
    assert (tmp_path / "out/intent.jsonl").read_bytes() == before


def test_a_dry_run_writes_nothing(log, tmp_path, monkeypatch, capsys):
    """It says the same."""
    monkeypatch.chdir(tmp_path)
    assert main(["import", "log.jsonl", "--dry-run", "--json"]) == 0
    dry = json.loads(capsys.readouterr().out)
    assert not (tmp_path / "imported").exists()
    assert main(["import", "log.jsonl", "--json"]) == 0
    wet = json.loads(capsys.readouterr().out)

    assert [{**file, "written": True} for file in dry["files"]] == wet["files"]
    assert main(["import", "log.jsonl", "--dry-run"]) == 0
    assert "Nothing was written." in capsys.readouterr().out
