"""`examples/plugin`: a package's own task, engine and detector are trained, routed to, asked and served."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugin"


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> dict[str, str]:
    """The environment of a process that sees the package, as pip installs it."""
    target = tmp_path_factory.mktemp("site")
    command = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    shutil.copytree(EXAMPLE, target / "source")
    done = subprocess.run(
        [sys.executable, *command, "--target", str(target / "packages"), str(target / "source")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    path = os.pathsep.join([str(target / "packages"), *filter(None, sys.path)])
    return {**os.environ, "PYTHONPATH": path, "COTERIE_DATA": str(target / "data")}


@pytest.fixture(scope="module")
def trained(installed, tmp_path_factory) -> Path:
    """Its network, trained."""
    folder = tmp_path_factory.mktemp("desk")
    shutil.copy(EXAMPLE / "coterie.toml", folder)
    shutil.copytree(EXAMPLE / "data", folder / "data")
    report = json.loads(coterie(installed, folder, "train", "--json"))

    assert report["specialists"]["tags"]["task"] == "tag"
    assert report["specialists"]["tags"]["metrics"]["tag_f1"] > 0.8
    return folder


def coterie(environment, folder, *arguments: str, given: str | None = None) -> str:
    """What a command prints."""
    done = subprocess.run(
        [sys.executable, "-m", "coterie", "-C", str(folder), *arguments],
        env=environment,
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_its_task_is_routed_to_and_answers(installed, trained):
    """The router finds the specialist by its profile, and its finding is accepted."""
    answer = json.loads(coterie(installed, trained, "ask", "The brake of my car is squealing.", "--json"))

    assert (answer["answer"], answer["accepted"]) == ("brake, squealing", True)
    assert answer["route"]["specialists"] == ["tags"]


def test_its_engine_answers_what_nobody_else_can(installed, trained):
    """A request out of scope goes to the generalist, which runs on the package's engine."""
    answer = json.loads(coterie(installed, trained, "ask", "Opening hours please", "--json"))

    assert answer["status"] == "escalated"
    assert answer["answer"].startswith("Opening ")


def test_its_detector_finds_what_ours_does_not(installed, trained):
    """A registration plate makes a text confidential."""
    report = json.loads(
        coterie(installed, trained, "privacy", "find", "-", "--json", given="My car B-AB 1234 broke down.")
    )

    assert [span["kind"] for span in report["found"]] == ["VEHICLE_PLATE"]
    assert report["label"] == "confidential"


async def test_it_is_served(installed, trained):
    """The gateway answers with the package's task."""
    server = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "coterie", "-C", str(trained), "serve", "--port", "0", "--json"],
        env={**installed, "PYTHONUNBUFFERED": "1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        line = await asyncio.wait_for(server.stdout.readline(), 60)
        address = json.loads(line)["address"]
        body = {"model": "coterie", "messages": [{"role": "user", "content": "There is a flat tyre on my van today."}]}
        async with httpx.AsyncClient(timeout=60) as client:
            reply = (await client.post(f"{address}/v1/chat/completions", json=body)).json()
    finally:
        server.terminate()
        await server.communicate()

    assert reply["choices"][0]["message"]["content"] == "tyre, flat"


def test_without_the_package_the_file_says_what_is_missing(trained):
    """A task that no installed package offers is named, with those that there are."""
    done = subprocess.run(
        [sys.executable, "-m", "coterie", "-C", str(trained), "train"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )

    assert done.returncode == 1
    assert "There is no task 'tag'" in done.stderr
    assert "classify" in done.stderr
