"""Signatures: who made a version, and whose are accepted."""

import json
import os
import subprocess

import pytest

from coterie.config.file import RegistrySection
from coterie.errors import ArtefactRefused, ConfigError, ExtraMissing, SetupError
from coterie.registry.registry import Registry, open_registry
from coterie.registry.signature import SignatureState, Trust, open_signer, write_key

FILES = {"model.json": b"{}", "card.md": b"#"}


@pytest.fixture
def signer(tmp_path):
    path, _ = write_key(tmp_path / "key.pem")
    return open_signer(str(path), tmp_path)


@pytest.fixture
def signed(registry, signer):
    """A version that was signed, as `(registry that requires its key, version)`."""
    version = Registry(registry.root, signer=signer).add("triage", FILES)
    return Registry(registry.root, trust=Trust(keys=frozenset({signer.public}), required=True)), version


def signature_file(registry, version):
    return registry.root / "triage" / version / "manifest.sig"


def test_signed_and_trusted(signed, signer):
    """A version signed with a trusted key is loaded, and says whose it is."""
    strict, version = signed
    loaded = strict.load("triage", version)

    assert loaded.files == FILES
    assert loaded.signature[:2] == (SignatureState.TRUSTED, signer.public)


def test_signature_is_no_part_of_the_name(registry, signed):
    """The same content has the same version, signed or not."""
    _, version = signed

    assert Registry(registry.root / "other").add("triage", FILES) == version
    assert registry.add("triage", FILES) == version


def test_adding_again_signs(registry, signer):
    """A version that is there unsigned is signed when it is added by somebody with a key."""
    version = registry.add("triage", FILES)
    assert registry.load("triage", version).signature.state is SignatureState.UNSIGNED

    assert Registry(registry.root, signer=signer).add("triage", FILES) == version
    assert registry.load("triage", version).signature[:2] == (SignatureState.UNTRUSTED, signer.public)


def test_unsigned_is_refused_where_signatures_are_required(registry, signed):
    """A missing signature is told as such; without the requirement the version loads."""
    strict, version = signed
    signature_file(registry, version).unlink()

    with pytest.raises(ArtefactRefused, match=r"manifest\.sig in .* is missing, and registry\.require_signature"):
        strict.load("triage", version)
    assert registry.load("triage", version).files == FILES


def test_another_key_is_refused(registry, signed, tmp_path):
    """A right signature of a key that is not trusted is refused with the key."""
    _, version = signed
    strict = Registry(registry.root, trust=Trust(keys=frozenset({"0" * 64}), required=True))

    with pytest.raises(ArtefactRefused, match=r"is of the key [0-9a-f]{64}, which is not among"):
        strict.load("triage", version)


def flip(document):
    """Change one digit of the signature."""
    first = "1" if document["signature"][0] != "1" else "2"
    return {**document, "signature": first + document["signature"][1:]}


def other_key(document):
    return {**document, "key": "5" * 64}


@pytest.mark.parametrize("tamper", [flip, other_key, lambda d: {**d, "algorithm": "none"}, lambda d: {}, lambda d: []])
def test_a_tampered_signature_is_noticed(registry, signed, tamper):
    """Whatever is changed in a signature, nobody gets the version, required or not."""
    strict, version = signed
    path = signature_file(registry, version)
    path.write_text(json.dumps(tamper(json.loads(path.read_text()))))

    for opened in (registry, strict):
        with pytest.raises(ArtefactRefused, match=r"manifest\.sig"):
            opened.load("triage", version)


def test_a_cut_signature_is_noticed(registry, signed):
    """A signature's file that lost its end is damaged."""
    _, version = signed
    path = signature_file(registry, version)
    path.write_bytes(path.read_bytes()[:-20])

    with pytest.raises(ArtefactRefused, match="is damaged"):
        registry.load("triage", version)


def test_a_signature_holds_for_one_specialist(registry, signed):
    """A signed version under another specialist's name is refused."""
    strict, version = signed
    (registry.root / "triage").rename(registry.root / "underwriting")

    with pytest.raises(ArtefactRefused, match="'underwriting'"):
        strict.load("underwriting", version)


def test_without_the_package(registry, signed, monkeypatch):
    """Where signatures cannot be checked they are unchecked; where they are required, the extra is asked for."""
    strict, version = signed
    monkeypatch.setattr("coterie.registry.signature.find_spec", lambda _: None)

    assert registry.load("triage", version).signature.state is SignatureState.UNCHECKED
    with pytest.raises(ExtraMissing, match="cryptography") as missing:
        strict.load("triage", version)
    assert "coterie[sign]" in missing.value.hint


def test_openssl_agrees(signed, registry, signer, tmp_path):
    """What we sign, OpenSSL verifies: no format of our own."""
    _, version = signed
    folder = registry.root / "triage" / version
    public = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00" + bytes.fromhex(signer.public)  # RFC 8410
    (tmp_path / "public.der").write_bytes(public)
    (tmp_path / "message").write_bytes(b"coterie version\ntriage\n" + (folder / "manifest.json").read_bytes())
    signature = json.loads((folder / "manifest.sig").read_text())["signature"]
    (tmp_path / "signature").write_bytes(bytes.fromhex(signature))
    words = "openssl pkeyutl -verify -rawin -pubin -keyform DER -inkey public.der -in message -sigfile signature"

    try:
        done = subprocess.run(words.split(), cwd=tmp_path, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    assert done.returncode == 0, done.stdout + done.stderr


# --- Keys ----------------------------------------------------------------------------------------


def test_a_key_is_its_owners(tmp_path, monkeypatch):
    """A key lies in the folder of settings, only its owner reads it, and it is never overwritten."""
    monkeypatch.setenv("COTERIE_HOME", str(tmp_path / "home"))
    path, public = write_key()

    assert path == tmp_path / "home" / "signing_key.pem"
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(public) == 64
    before = path.read_bytes()
    with pytest.raises(SetupError, match="already"):
        write_key()
    assert path.read_bytes() == before


def test_key_from_the_environment(tmp_path, monkeypatch):
    """A key named `env:NAME` is the variable's PEM text; one that is not set is told."""
    path, public = write_key(tmp_path / "key.pem")
    section = RegistrySection(signing_key="env:COTERIE_TEST_KEY")
    with pytest.raises(ConfigError, match=r"'COTERIE_TEST_KEY'.*coterie\.toml"):
        open_signer(section.signing_key, tmp_path)

    monkeypatch.setenv("COTERIE_TEST_KEY", path.read_text())
    assert open_signer(section.signing_key, tmp_path).public == public


def test_a_key_that_others_may_read(tmp_path):
    """A private key with open rights is refused with the command that closes them."""
    path, _ = write_key(tmp_path / "key.pem")
    path.chmod(0o644)

    with pytest.raises(ConfigError, match="Others may read") as refused:
        open_signer("key.pem", tmp_path)
    assert refused.value.hint == f"Run: chmod 600 {path}"


@pytest.mark.parametrize("content", [b"", b"nonsense", b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"])
def test_what_is_no_key(tmp_path, content):
    """A file that holds no key is refused without its content."""
    path = tmp_path / "key.pem"
    path.touch(0o600)
    path.write_bytes(content)

    with pytest.raises(ConfigError, match="Ed25519"):
        open_signer("key.pem", tmp_path)


def test_a_key_that_is_not_there(tmp_path):
    """A key that is named and missing is told before anything is trained; one that is not named is not missed."""
    with pytest.raises(ConfigError, match=r"registry\.signing_key"):
        open_signer("key.pem", tmp_path)
    assert open_signer(None, tmp_path) is None


def test_serving_needs_no_private_key(tmp_path):
    """The private key is looked at only where versions are added."""
    section = RegistrySection(signing_key="key.pem")

    assert open_registry(tmp_path, section).names() == ()
    with pytest.raises(ConfigError):
        open_registry(tmp_path, section, signing=True)


def test_requiring_what_one_does_not_sign(tmp_path):
    """Where trusted signatures are required, training without such a key is refused before it begins."""
    write_key(tmp_path / "key.pem")

    for key in (None, "key.pem"):
        section = RegistrySection(signing_key=key, trusted_keys=("0" * 64,), require_signature=True)
        with pytest.raises(ConfigError, match="would not be signed with a trusted key"):
            open_registry(tmp_path, section, signing=True)


def test_key_is_written_with_closed_rights(tmp_path, monkeypatch):
    """The file never exists with open rights, whatever the process's mask."""
    before = os.umask(0)
    try:
        path, _ = write_key(tmp_path / "key.pem")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
