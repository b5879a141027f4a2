"""`coterie registry`: what is listed, compared, promoted, checked and exported."""

import json
import zipfile
from pathlib import Path

import pytest

from coterie.learning.evaluation import pack
from coterie.registry.registry import Registry


def report(wrong: int, **more) -> dict:
    """A classifier's report with two labels of 40 rows, of which the first got `wrong` wrong."""
    right = [index >= wrong for index in range(40)]
    accuracy = (80 - wrong) / 80
    slices = {
        "delivery": {"n": 40, "recall": (40 - wrong) / 40, "right": pack(right)},
        "refund": {"n": 40, "recall": 1.0, "right": pack([True] * 40)},
    }
    return {
        "name": "triage",
        "task": "classify",
        "rung": "lexical",
        "reason": "the only rung",
        "measures": ["accuracy"],
        "bar": {"accuracy": 0.8},
        "bar_met": accuracy >= 0.8,
        "metrics": {
            "n": 80,
            "labelled": 80,
            "accuracy": accuracy,
            "intervals": {"accuracy": [accuracy - 0.05, accuracy]},
        },
        "seed": 0,
        "code_version": "0.1.0",
        "base": {"name": "MiniLM", "licence": "Apache-2.0", "sha256": "e" * 64},
        "data": {
            "train": {"file": "triage.csv", "rows": 99, "sha256": "a" * 64, "licence": "CC-BY-4.0"},
            "held_out": {"file": "test.csv", "rows": 80, "sha256": "b" * 64, "rows_sha256": "c" * 64},
        },
        "slices": slices,
        "right": pack([*right, *[True] * 40]),
        **more,
    }


@pytest.fixture
def registry(folder) -> Registry:
    return Registry(folder / "registry", clock=lambda: 0.0, user=lambda: "ada")


@pytest.fixture
def stored(registry):
    """Stores a version: `stored(wrong=2)`."""

    def store(wrong: int, **more) -> str:
        files = {"report.json": json.dumps(report(wrong, **more)).encode(), "card.md": b"# triage", "model.json": b"{}"}
        return registry.add("triage", files)

    return store


@pytest.fixture
def two(registry, stored) -> tuple[str, str]:
    """A champion and a much worse candidate."""
    champion, candidate = stored(0), stored(14)
    registry.promote("triage", champion, reason="first")
    registry.promote("triage", candidate, alias="candidate")
    return champion, candidate


def damage(folder: Path, version: str) -> None:
    (folder / "registry" / "triage" / version / "model.json").write_text("[]")


# --- What is there -------------------------------------------------------------------------------


def test_list(run, folder, two):
    """Every version is listed with its alias, the figure that decides and its interval, bar, size and date."""
    versions = run("-C", folder, "registry", "list", "--json").json["specialists"]["triage"]

    assert [version["version"] for version in versions] == list(two)
    assert [version["aliases"] for version in versions] == [["champion"], ["candidate"]]
    assert (versions[1]["measure"], versions[1]["value"], versions[1]["interval"]) == (
        "accuracy",
        0.825,
        pytest.approx([0.775, 0.825]),
    )
    assert versions[1]["bar_met"] is True
    assert versions[1]["signature"] == "unsigned"
    table = run("-C", folder, "registry", "list", "triage").out
    assert "champion" in table
    assert "0.775-0.825" in table


def test_list_of_what_is_not_there(run, folder, registry):
    """Nothing trained is said with the command that trains; an unknown name is refused."""
    assert run("-C", folder, "registry", "list", "--json").json == {"specialists": {}}
    assert "train" in run("-C", folder, "registry", "list").out
    result = run("-C", folder, "registry", "list", "nobody", "--json")
    assert (result.code, result.json["error"]["code"]) == (2, "unknown_specialist")


def test_list_with_a_damaged_version(run, folder, two):
    """A damaged version is listed as such, and the others as ever."""
    damage(folder, two[0])

    versions = run("-C", folder, "registry", "list", "--json").json["specialists"]["triage"]
    assert "model.json" in versions[0]["error"]
    assert versions[1]["error"] is None
    assert "DAMAGED" in run("-C", folder, "registry", "list").out


def test_show(run, folder, two):
    """A version is shown with lineage, figures, files with size and checksum, licences, signature and its history."""
    document = run("-C", folder, "registry", "show", "triage", two[0][:5], "--json").json

    assert document["version"] == two[0]
    assert document["report"]["code_version"] == "0.1.0"
    assert document["files"][1] == {"file": "model.json", "bytes": 2, "sha256": document["files"][1]["sha256"]}
    assert document["signature"] == {"state": "unsigned", "key": None}
    assert [change["reason"] for change in document["history"]] == ["first"]
    shown = run("-C", folder, "registry", "show", "triage").out
    for words in (two[0], "0.950-1.000", "CC-BY-4.0", "Apache-2.0", "a" * 64, "unsigned", "ada: promote"):
        assert words in shown


def test_show_of_a_report_that_says_little(run, folder, registry):
    """A version with an empty report is shown all the same."""
    registry.promote("triage", registry.add("triage", {"report.json": b"{}"}))

    assert run("-C", folder, "registry", "show", "triage").code == 0
    assert run("-C", folder, "registry", "list").code == 0


@pytest.mark.parametrize(("wanted", "code"), [("candidate", 1), ("123", 2), ("ffff", 2)])
def test_show_what_is_not_there(run, folder, stored, wanted, code):
    """An alias that stands for nothing, too few digits and unknown ones are refused."""
    stored(0)

    assert run("-C", folder, "registry", "show", "triage", wanted, "--json").code == code


def test_diff(run, folder, two):
    """Two versions stand side by side: figures with differences, slices that got worse, what differs in origin."""
    document = run("-C", folder, "registry", "diff", "triage", "--json").json

    assert (document["before"], document["after"], document["comparable"]) == (*two, True)
    assert document["metrics"] == [
        {"figure": "accuracy", "before": 1.0, "after": 0.825, "difference": pytest.approx(-0.175)}
    ]
    assert [slice_["worse"] for slice_ in document["slices"]] == [True, False]
    assert [file["file"] for file in document["files"]] == ["report.json"]
    shown = run("-C", folder, "registry", "diff", "triage").out
    assert "-0.175" in shown
    assert "WORSE: recall of 'delivery' fell from 1.000 to 0.650" in shown


def test_diff_of_what_cannot_be_compared(run, folder, stored, two):
    """Figures of other rows are shown beside each other, and said not to be comparable."""
    data = {"train": {"sha256": "d" * 64}, "held_out": {"rows_sha256": "d" * 64}}
    other = stored(1, data=data, seed=7)
    shown = run("-C", folder, "registry", "diff", "triage", two[0], other).out

    assert "Not to be compared: they were measured on different held-out rows." in shown
    assert "data.train.sha256" in shown
    assert "seed" in shown
    assert "Nothing is measurably worse." in shown


# --- Who serves ----------------------------------------------------------------------------------


def test_promote(run, folder, registry, two, stored):
    """The candidate becomes champion if it may; the reason is told and kept."""
    registry.promote("triage", good := stored(1), alias="candidate")
    result = run("-C", folder, "registry", "promote", "triage")

    assert (result.code, registry.alias("triage")) == (0, good)
    assert [name in result.out for name in ("triage", good, two[0])] == [True] * 3
    assert registry.history("triage")[-1].reason.startswith("it meets its bar")


def test_promote_is_refused(run, folder, registry, two):
    """A candidate that is worse than the champion is refused with how much, and the way to do it all the same."""
    result = run("-C", folder, "registry", "promote", "triage", "--json")

    assert (result.code, result.json["error"]["code"]) == (4, "promotion_refused")
    assert "accuracy fell from 1.000 to 0.825 (-0.175, p = 6.1e-05 on 80 rows)" in result.json["error"]["message"]
    assert "recall of 'delivery' fell from 1.000 to 0.650" in result.json["error"]["message"]
    assert "--force" in result.json["error"]["hint"]
    assert registry.alias("triage") == two[0]


def test_force(run, folder, registry, two):
    """With `--force` and a reason it is promoted, loudly; without a reason nothing happens."""
    assert run("-C", folder, "registry", "promote", "triage", "--force").code == 2
    assert registry.alias("triage") == two[0]

    result = run("-C", folder, "registry", "promote", "triage", "--force", "--reason", "the data was wrong")

    assert result.code == 0
    assert "FORCED: accuracy fell" in result.err
    assert registry.alias("triage") == two[1]
    assert (registry.history("triage")[-1].forced, registry.history("triage")[-1].reason) == (
        True,
        "the data was wrong",
    )


def test_rollback(run, folder, registry, two):
    """The champion before serves again; before the first there is none."""
    registry.promote("triage", two[1])
    document = run("-C", folder, "registry", "rollback", "triage", "--json").json

    assert document == {"name": "triage", "version": two[0], "replaced": two[1]}
    assert registry.alias("triage") == two[0]
    assert run("-C", folder, "registry", "rollback", "triage").code == 2


# --- Whether it is what it was -------------------------------------------------------------------


def test_verify(run, folder, two):
    """Every version and alias is checked, and all is well."""
    result = run("-C", folder, "registry", "verify", "--json")

    assert (result.code, result.json["ok"]) == (0, True)
    assert [check["what"] for check in result.json["checks"]] == [*two, "champion", "candidate", "history"]
    assert "5 of 5 " in run("-C", folder, "registry", "verify", "triage").out


def test_verify_goes_on_after_the_first(run, folder, registry, two):
    """Everything that is wrong is told, with file and reason, and the exit code is 1."""
    damage(folder, two[0])
    (folder / "registry" / "triage" / two[1] / "card.md").unlink()
    (folder / "registry" / "triage" / "candidate").write_text("0" * 16)
    with (folder / "registry" / "triage" / "history.jsonl").open("a") as file:
        file.write("nonsense\n")
    result = run("-C", folder, "registry", "verify")

    assert result.code == 1
    for words in ("model.json in", "wrong checksum", "card.md in", "is missing", "is not stored", "history.jsonl"):
        assert words in result.err
    errors = [check["error"] for check in run("-C", folder, "registry", "verify", "--json").json["checks"]]
    assert [error is None for error in errors] == [False, False, True, False, False]


def test_signatures(run, folder, two, tmp_path):
    """With required signatures, what is unsigned is refused wherever a version is used, with the reason."""
    key = run("registry", "keygen", "--to", tmp_path / "key.pem", "--json").json
    with (folder / "coterie.toml").open("a") as file:
        file.write(f'\n[registry]\ntrusted_keys = ["{key["public_key"]}"]\nrequire_signature = true\n')

    for words in (("show", "triage"), ("diff", "triage"), ("promote", "triage"), ("verify",)):
        result = run("-C", folder, "registry", *words)
        assert result.code == 1
        assert "manifest.sig in" in result.err
        assert "registry.require_signature" in result.err


def test_keygen(run, tmp_path, monkeypatch):
    """A key is made where settings are kept, what to write into coterie.toml is printed, and it is not overwritten."""
    monkeypatch.setenv("COTERIE_HOME", str(tmp_path / "home"))
    result = run("registry", "keygen")

    assert 'trusted_keys = ["' in result.out
    assert "PRIVATE" not in result.out
    assert (tmp_path / "home" / "signing_key.pem").stat().st_mode & 0o777 == 0o600
    assert run("registry", "keygen").code == 1


# --- Out of the house ----------------------------------------------------------------------------


def test_export_to_a_folder(run, folder, two, tmp_path):
    """The folder has the card as README.md, the artefacts and the manifest; what is there is not overwritten."""
    target = tmp_path / "out" / "triage"
    result = run("-C", folder, "registry", "export", "triage", "--to", target, "--json")

    assert result.json == {"name": "triage", "version": two[0], "path": str(target)}
    names = {path.name for path in target.iterdir()}
    assert names == {"README.md", "card.md", "manifest.json", "model.json", "report.json"}
    assert (target / "README.md").read_text() == "# triage"
    assert run("-C", folder, "registry", "export", "triage", "--to", target).code == 2


def test_export_to_a_zip_file(run, folder, two, tmp_path):
    """The zip file has one folder, and the same version gives the same bytes."""
    for name in ("a.zip", "b.zip"):
        assert run("-C", folder, "registry", "export", "triage", two[1], "--to", tmp_path / name).code == 0

    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    names = zipfile.ZipFile(tmp_path / "a.zip").namelist()
    assert {name.split("/")[0] for name in names} == {f"triage-{two[1]}"}
    assert f"triage-{two[1]}/README.md" in names


def test_export_of_a_damaged_version(run, folder, two, tmp_path):
    """What is damaged does not leave."""
    damage(folder, two[0])

    assert run("-C", folder, "registry", "export", "triage", "--to", tmp_path / "out").code == 1
    assert not (tmp_path / "out").exists()
