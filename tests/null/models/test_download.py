import pytest

from coterie.errors import ModelMissing
from coterie.models import publishers as _download


@pytest.fixture
def part(tmp_path):
    return tmp_path / "file.part"


@pytest.fixture
def download(files, content, part):
    """A download of the model's bytes."""
    files.files["/tiny.gguf"] = content
    return lambda **more: _download.download(f"{files.url}/tiny.gguf", part, **{"most": len(content), **more})


def test_whole(download, part, content):
    """A download brings every byte, and says how far it is."""
    seen = []
    download(progress=lambda done, total: seen.append((done, total)))
    assert part.read_bytes() == content
    assert seen[-1] == (len(content), len(content))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_goes_on(download, files, part, content):
    """A cut connection is taken up where it broke, as often as it breaks."""
    files.cut_after = [300_000, 300_000, 1]
    download()
    assert part.read_bytes() == content
    assert files.sent < 1.5 * len(content)
    assert files.requests[1][1]["range"].startswith("bytes=262144-")


def test_goes_on_in_another_process(download, files, part, content):
    """So does a download that was given up, when the same is asked for again."""
    files.cut_after = [300_000] + [0] * 99
    with pytest.raises(ModelMissing, match="Could not download") as failure:
        download()
    assert "go on where it stopped" in failure.value.hint
    here = part.stat().st_size
    assert here > 0
    files.cut_after, files.sent = [], 0
    download()
    assert part.read_bytes() == content
    assert files.sent == len(content) - here


def test_without_ranges(download, files, part, content):
    """A server that knows no ranges is asked for all of it again; the parts are not mixed."""
    files.ranges = False
    files.cut_after = [300_000]
    download()
    assert part.read_bytes() == content


def test_all_here_already(download, files, part, content):
    """A part that was complete is known as complete; nothing is sent."""
    download()
    files.sent = 0
    download()
    assert part.read_bytes() == content
    assert files.sent == 0


def test_more_here_than_there(download, files, part, content):
    """A part longer than the file is not its beginning: it starts over."""
    part.write_bytes(content + b"more")
    download()
    assert part.read_bytes() == content


def test_busy_server(download, files, part, content, no_sleep):
    """A server that is busy is asked again, after a while that grows."""
    files.statuses = [503, 429, 500]
    download()
    assert part.read_bytes() == content
    assert len(no_sleep) == 3


def test_gives_up(download, files):
    """Five times without a byte are enough."""
    files.statuses = [503] * 99
    with pytest.raises(ModelMissing, match="status 503"):
        download()
    assert len(files.requests) == 5


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_refused(download, files, status):
    """A server that has no such file is asked once."""
    files.statuses = [status]
    with pytest.raises(ModelMissing, match=f"status {status}"):
        download()
    assert len(files.requests) == 1


def test_secrets_stay(files, part, caplog, capfd):
    """What is secret in an address is in no message and no log, whether nobody or a refusal answers."""
    secret = "//me:hunter2@127.0.0.1:{}/tiny.gguf?signature=hunter3"
    for port in (1, int(files.url.rpartition(":")[2])):
        with pytest.raises(ModelMissing, match=rf"http://127\.0\.0\.1:{port}/tiny\.gguf") as failure:
            _download.download("http:" + secret.format(port), part)
        assert "hunter" not in f"{failure.value} {failure.value.hint}"
    assert "hunter" not in caplog.text + "".join(capfd.readouterr())


def test_offline_mode_is_honoured(download, files, monkeypatch):
    """Where `HF_HUB_OFFLINE` is set nothing is asked."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelMissing, match="HF_HUB_OFFLINE"):
        download()
    assert files.requests == []


@pytest.mark.parametrize("url", ["http://[", "http://a b", "https://"])
def test_senseless_address(part, url, refused):  # "a b" is looked up
    """An address that is none is said to be so at once."""
    with pytest.raises(ModelMissing):
        _download.download(url, part, most=10)


@pytest.mark.parametrize("length", [True, False])
def test_too_large(download, files, part, content, length):
    """A file that is too large to be the wanted one is refused, before or while it comes, and leaves nothing."""
    files.length = length
    files.files["/tiny.gguf"] = content + b"x"
    with pytest.raises(ModelMissing, match="at most"):
        download()
    assert not part.exists()
