"""The command as a whole: start, options, errors, exit codes, pipes and signals."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from coterie import errors
from coterie.cli.app import app
from coterie.cli.output import EXIT_CODES
from coterie.types import Verdict, worded

VERDICT = Verdict(allowed=False, rule="egress.clearance", reason=worded("too sensitive"))


def test_help_starts_light():
    """`coterie --help` imports none of the libraries that take time: that is how it answers in under 0.3 s."""
    code = "import sys\nfrom coterie.cli import main\nmain(['--help'])\nprint(*sys.modules, sep='\\n', file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert not set(done.stderr.split()) & {
        "asyncio",
        "pydantic",
        "numpy",
        "rich.table",
        "rich.console",
        "sqlite3",
        "tantivy",
    }


def test_help_lists_every_command(run):
    """The help names each command, and exits with 0."""
    result = run("--help")

    assert result.code == 0
    for command in ("init", "add", "train", "eval", "ask", "serve", "report", "trace", "models", "doctor"):
        assert f"  {command} " in result.out


def test_no_command_shows_the_help(run):
    """`coterie` alone is a question: it gets the help."""
    result = run()

    assert result.code in (0, 2)  # typer's versions differ
    assert "Commands:" in result.err + result.out


def test_a_text_that_begins_with_a_dash(run, tmp_path):
    """A text like "-80 alarm" is read as options: how to give it is said, for commands that take one."""
    result = run("-C", tmp_path, "ask", "-80 alarm")
    misspelt = run("-C", tmp_path, "ask", "--sesion", "a", "text")
    textless = run("-C", tmp_path, "report", "-8")

    assert f"coterie -C {tmp_path} ask -- '...'" in result.err
    assert "-- '...'" not in misspelt.err + textless.err
    assert {result.code, misspelt.code, textless.code} == {2}


def test_version(run):
    """`--version` says name and version."""
    from coterie import __version__

    assert run("--version").out == f"coterie {__version__}\n"


def test_every_command_has_json():
    """Every command knows `--json`."""

    def commands(group):
        for command in group.commands.values():
            yield from commands(command) if hasattr(command, "commands") else (command,)

    for command in commands(typer.main.get_command(app)):
        assert "--json" in {name for parameter in command.params for name in parameter.opts}, command.name


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigError("m", hint="h"), 1),
        (errors.NotTrained("m", hint="h"), 1),
        (errors.DataError("m", hint="h"), 2),
        (errors.EgressRefused(VERDICT, hint="h"), 4),
        (errors.Overloaded("m", hint="h"), 5),
        (errors.EngineTimeout("m", engine="e", hint="h"), 5),
    ],
)
def test_errors_become_exit_codes(run, monkeypatch, error, code):
    """Whose mistake it was shows in the exit code; message and hint go to standard error, without a traceback."""

    def fail(folder):
        raise error

    monkeypatch.setattr("coterie.config.file.load_config", fail)
    result = run("report")

    assert (result.code, result.out) == (code, "")
    assert result.err == f"Error: {error.message}\nh\n"


@pytest.mark.parametrize(
    ("hint", "shown"),
    [
        ("Run: coterie train help", "Run: coterie -C '{}' train help"),
        ("`coterie audit verify` says more.", "`coterie -C '{}' audit verify` says more."),
        ("Run `coterie init DIR`, or `coterie -C DIR ...`.", "Run `coterie init DIR`, or `coterie -C DIR ...`."),
        ("Use what coterie offers.", "Use what coterie offers."),
    ],
)
def test_a_hint_is_a_command_for_this_folder(run, monkeypatch, tmp_path, hint, shown):
    """What a hint says to run can be copied: it names the folder that `-C` named."""

    def fail(folder):
        raise errors.ConfigError("m", hint=hint)

    monkeypatch.setattr("coterie.config.file.load_config", fail)
    shop_folder = tmp_path / "my shop"

    assert run("-C", shop_folder, "report").err == f"Error: m\n{shown.format(shop_folder)}\n"
    assert run("report").err == f"Error: m\n{hint}\n"


def test_errors_as_json(run, tmp_path):
    """With `--json` an error is a JSON document on standard output, with its stable code."""
    result = run("-C", tmp_path, "report", "--json")

    assert result.code == 1
    assert result.json["error"]["code"] == "config_error"
    assert "coterie init" in result.json["error"]["hint"]
    assert result.json["error"]["retryable"] is False
    assert result.err == ""


def test_usage_errors_as_json(run):
    """Also a command line that cannot be understood is answered in JSON when it asks for it."""
    result = run("ask", "hello", "--json", "--no-such-option")

    assert result.code == 2
    assert result.json["error"]["code"] == "usage_error"


def test_an_unknown_option_names_those_that_begin_like_it(run):
    """Also where others are spelt more alike: `--label` is short for the column of the labels."""
    message = run("add", "tickets", "--label", "topic").err
    assert "--label-column" in message
    assert "--labels" in message
    assert "--text-column" in run("add", "tickets", "--text", "body").err


def test_json_after_two_dashes_is_text(run, monkeypatch):
    """`--json` after `--` is no option."""
    result = run("train", "--no-such-option", "--", "--json")

    assert result.code == 2
    assert result.out == ""
    assert "No such option" in result.err


def test_unexpected_errors_are_short(run, monkeypatch):
    """A mistake of ours is one line and where to report it, never a traceback."""

    def fail(folder):
        raise KeyError("boom\nboom")

    monkeypatch.setattr("coterie.config.file.load_config", fail)
    monkeypatch.delenv("COTERIE_DEBUG", raising=False)
    result = run("report")

    assert result.code == 70
    assert "KeyError" in result.err
    assert "COTERIE_DEBUG=1" in result.err
    assert "Traceback" not in result.err
    assert len(result.err.splitlines()) == 2


def test_debug_shows_the_traceback(run, monkeypatch):
    """`COTERIE_DEBUG=1` shows where it happened."""

    def fail(folder):
        raise KeyError("boom")

    monkeypatch.setattr("coterie.config.file.load_config", fail)
    monkeypatch.setenv("COTERIE_DEBUG", "1")

    assert "Traceback" in run("report").err


def test_files_that_cannot_be_written_are_a_matter_of_set_up(run, tmp_path):
    """A folder that cannot be made is said with its path; it is no mistake of ours."""
    (tmp_path / "file").write_text("")
    result = run("init", tmp_path / "file" / "net")

    assert result.code == 1
    assert str(tmp_path / "file") in result.err


def test_ctrl_c(run, monkeypatch):
    """Ctrl-C ends with 130 and one word."""

    def interrupt(folder):
        raise KeyboardInterrupt

    monkeypatch.setattr("coterie.config.file.load_config", interrupt)
    result = run("report")

    assert result.code == 130
    assert result.err.strip() == "Interrupted."


def test_interrupted_while_the_program_loads():
    """Ctrl-C before any command is known ends with 130 and one word, without a traceback."""
    code = """
import sys
from coterie.cli import main
class Interrupts:
    def find_spec(name, path=None, target=None):
        if name == "coterie.cli.app": raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupts)
sys.exit(main(["--version"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, len(done.stderr.split())) == (130, 1)


def test_sigint_to_a_process():
    """A process that gets SIGINT while it works ends with 130, without a traceback."""
    code = """
import signal, sys
import coterie.config.file
from coterie.cli import main

signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may have ignored it

def block(folder):
    print("working", flush=True)
    signal.pause()

coterie.config.file.load_config = block
sys.exit(main(["report"]))
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=-1, stderr=-1, text=True) as process:
        try:
            assert process.stdout.readline() == "working\n"
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=120)
        finally:
            process.kill()

    assert process.returncode == 130
    assert err.strip() == "Interrupted."


def test_control_characters_in_errors_are_dropped(run, folder):
    """What somebody typed cannot steer the terminal through our error message."""
    result = run("-C", folder, "trace", "\x1b[31mred")

    assert "\x1b" not in result.err


def test_a_closed_pipe_is_silent(tmp_path):
    """`coterie ... | head` ends without a word."""
    (tmp_path / "coterie.toml").write_text("")
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "coterie", "-C", str(tmp_path), "report"],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)

    assert (done.returncode, done.stderr) == (141, "")
    assert done.returncode in EXIT_CODES


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_output_that_cannot_be_written(tmp_path):
    """A full disk under the output is said on standard error, without a traceback."""
    (tmp_path / "coterie.toml").write_text("")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "coterie", "-C", str(tmp_path), "report", "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert done.returncode == 1
    assert done.stderr.startswith("Error: Cannot read or write the output: No space left on device.")
    assert "Traceback" not in done.stderr


def test_output_in_ascii():
    """A terminal that knows only ASCII gets replacement characters, not a crash."""
    code = "import sys\nfrom coterie.cli.output import say, show_json\nsay('größe'); show_json({'a': 'größe'})"
    done = subprocess.run(
        [sys.executable, "-c", f"from coterie.cli import main\nmain(['--version'])\n{code}"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.split(b"\n", 2)[2]) == {"a": "größe"}
