import json

import pytest

from coterie.errors import ModelMissing
from coterie.models.download import Download, PartialFile


@pytest.fixture
def part(tmp_path):
    """Where the bytes go."""
    return PartialFile(tmp_path / "file.part")


@pytest.fixture
def download(files, content, part, no_sleep):
    """A download of the model's bytes."""
    files.files["/tiny.gguf"] = content
    return Download(url=f"{files.url}/tiny.gguf", part=part, most=len(content), sleep=no_sleep)


def test_whole(download, part, content):
    """A download brings every byte, and says how far it is."""
    seen = []
    download.progress = lambda done, total: seen.append((done, total))
    download.run()
    assert part.path.read_bytes() == content
    assert seen[-1] == (len(content), len(content))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_goes_on(download, files, part, content):
    """A cut connection is taken up where it broke, as often as it breaks, and no byte is asked for twice."""
    files.cut_after = [300_000, 300_000, 1]
    download.run()
    assert part.path.read_bytes() == content
    assert files.sent == len(content)
    assert [headers.get("range") for _, headers in files.requests] == [
        None,
        "bytes=300000-",
        "bytes=600000-",
        "bytes=600001-",
    ]


def test_goes_on_in_another_process(download, files, part, content):
    """So does a download that was given up, when the same is asked for again."""
    files.cut_after = [300_000] + [0] * 10
    with pytest.raises(ModelMissing, match="Could not download") as failure:
        download.run()
    assert "go on where it stopped" in failure.value.hint
    assert part.size == 300_000
    files.cut_after = []
    Download(url=download.url, part=PartialFile(part.path), most=len(content)).run()
    assert part.path.read_bytes() == content
    assert files.sent == len(content)


def test_without_ranges(download, files, part, content):
    """A server that knows no ranges is asked for all of it again; the parts are not mixed."""
    files.ranges = False
    files.cut_after = [300_000]
    download.run()
    assert part.path.read_bytes() == content
    assert files.sent == 300_000 + len(content)


def test_changed_file(download, files, part, content):
    """A file that changed in between starts over."""
    files.cut_after = [300_000] + [0] * 10
    with pytest.raises(ModelMissing):
        download.run()
    files.cut_after = []
    files.etag, files.files["/tiny.gguf"] = '"v2"', content[::-1]
    download.run()
    assert part.path.read_bytes() == content[::-1]


@pytest.mark.parametrize("etag", [None, 'W/"v1"'])
def test_unmarked_file(download, files, part, content, etag):
    """Without a strong mark nobody knows whether it is the same file: it starts over."""
    files.etag = etag
    files.cut_after = [300_000]
    download.run()
    assert part.path.read_bytes() == content
    assert all("range" not in headers for _, headers in files.requests)


def test_another_address(download, files, part, content):
    """A part from another address is not gone on with, not even if the mark is the same."""
    files.files["/other.gguf"] = content[::-1]
    files.cut_after = [300_000] + [0] * 10
    with pytest.raises(ModelMissing):
        download.run()
    files.cut_after = []
    download.url = f"{files.url}/other.gguf"
    download.run()
    assert part.path.read_bytes() == content[::-1]


def test_all_here_already(download, files, part, content):
    """A part that was complete is known as complete; nothing is sent."""
    download.run()
    files.sent = 0
    download.run()
    assert part.path.read_bytes() == content
    assert files.sent == 0


def test_more_here_than_there(download, files, part, content):
    """A part longer than the file is not its beginning: it starts over."""
    download.run()
    with part.path.open("ab") as file:
        file.write(b"more")
    download.run()
    assert part.path.read_bytes() == content


def test_damaged_note(download, files, part, content):
    """A note that cannot be read counts as none."""
    files.cut_after = [300_000] + [0] * 10
    with pytest.raises(ModelMissing):
        download.run()
    files.cut_after = []
    for note in ("", "[]", '{"url": 7}', json.dumps({"url": download.url, "validator": ["v1"]})):
        part.path.with_name("file.part.json").write_text(note)
        download.run()
        assert part.path.read_bytes() == content


def test_busy_server(download, files, part, content):
    """A server that is busy is asked again, after a while that grows."""
    waits = []
    download.sleep = waits.append
    files.statuses = [503, 429, 500]
    download.run()
    assert part.path.read_bytes() == content
    assert waits == [2, 4, 8]


def test_gives_up(download, files):
    """Five times without a byte are enough."""
    files.statuses = [503] * 99
    with pytest.raises(ModelMissing, match="status 503"):
        download.run()
    assert len(files.requests) == 5


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_refused(download, files, status):
    """A server that has no such file is asked once."""
    files.statuses = [status]
    with pytest.raises(ModelMissing, match=f"status {status}"):
        download.run()
    assert len(files.requests) == 1


def test_unreachable(part, no_sleep):
    """A server that is not there is said to be so, without what is secret in its address."""
    url = "http://me:hunter2@127.0.0.1:1/tiny.gguf?signature=hunter3"
    with pytest.raises(ModelMissing, match=r"http://127\.0\.0\.1:1/tiny\.gguf") as failure:
        Download(url=url, part=part, most=10, sleep=no_sleep).run()
    assert "hunter" not in str(failure.value)


@pytest.mark.parametrize("url", ["http://[", "http://a b", "https://"])
def test_senseless_address(part, no_sleep, url, refused):  # "a b" is looked up
    """An address that is none is said to be so at once."""
    with pytest.raises(ModelMissing):
        Download(url=url, part=part, most=10, sleep=no_sleep).run()


@pytest.mark.parametrize("length", [True, False])
def test_too_large(download, files, part, content, length):
    """A file that is too large to be the wanted one is refused, before or while it comes, and leaves nothing."""
    files.length = length
    files.files["/tiny.gguf"] = content + b"x"
    with pytest.raises(ModelMissing, match="at most"):
        download.run()
    assert part.size == 0


def test_unasked_range(download, files, part):
    """A part of the file nobody asked for is not taken for its beginning."""
    files.statuses = [206] * 5
    with pytest.raises(ModelMissing, match="range nobody asked for"):
        download.run()
    assert part.size == 0
