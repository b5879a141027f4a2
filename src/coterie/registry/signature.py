"""A version's signature: it identifies the author, which a checksum cannot do.

The signature covers the manifest, and so every byte, together with the specialist's name: a version signed as
`triage` is not a signed `underwriting`. The signature lies beside the manifest and is no part of the
version's name. It does not cover aliases: whoever can write the folder can still make an older signed version
serve.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

import platformdirs

from coterie.config.section import EnvSecret
from coterie.errors import ConfigError, ExtraMissing, SetupError
from coterie.runtime.codec import parse_json

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SIGNATURE = "manifest.sig"
_HOME_VARIABLE = "COTERIE_HOME"
_KEY_FILE = "signing_key.pem"


class SignatureState(StrEnum):
    """What is known of a version's signer."""

    UNSIGNED = "unsigned"
    """The version has no signature."""
    TRUSTED = "trusted"
    """The version is signed with one of the trusted keys."""
    UNTRUSTED = "untrusted"
    """The signature is valid, but its key is not among the trusted ones."""
    UNCHECKED = "unchecked"
    """The version has a signature; the package that checks it is not installed."""


class Signature(NamedTuple):
    """The signature found with a version."""

    state: SignatureState
    key: str | None = None
    """Public key, 64 hexadecimal digits."""
    content: bytes | None = None
    """Content of the signature's file."""


UNSIGNED = Signature(SignatureState.UNSIGNED)


@dataclass(frozen=True, kw_only=True)
class Trust:
    """The keys whose versions may be loaded."""

    keys: frozenset[str] = frozenset()
    """Trusted public keys."""
    required: bool = False
    """Whether a version without a signature of a trusted key is refused."""


class Signer:
    """Signs versions with one private key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @property
    def public(self) -> str:
        """The public key with which others check signatures: 64 hexadecimal digits."""
        return str(_ed25519().public_of(self._key))

    def sign(self, name: str, manifest: bytes) -> bytes:
        """Return the content of the signature's file."""
        signature = self._key.sign(_message(name, manifest)).hex()
        return (json.dumps({"algorithm": "ed25519", "key": self.public, "signature": signature}) + "\n").encode()

    def attest(self, kind: str, content: bytes) -> str:
        """Return the signature of a statement other than a version, as hexadecimal digits."""
        return self._key.sign(_statement(kind, content)).hex()


def is_attested(kind: str, content: bytes, *, key: str, signature: str) -> bool:
    """Return whether the holder of this key made this statement. Raises `ExtraMissing`: checking needs a package."""
    try:
        return bool(_ed25519().is_signed(key, bytes.fromhex(signature), _statement(kind, content)))
    except ValueError:
        return False


def open_signer(source: str | None, folder: Path, *, setting: str = "registry.signing_key") -> Signer | None:
    """Return the signer that a setting names: `env:NAME` of a key's PEM text, or its file. None if it names none.

    Raises:
        ConfigError: the key is missing, invalid, or readable by others.
        ExtraMissing: signing needs a package.
    """
    if source is None:
        return None
    ed25519 = _ed25519()
    pem = EnvSecret(source).reveal().encode() if source.startswith("env:") else _read_private(folder, source, setting)
    try:
        return Signer(ed25519.read_key(pem))
    except ValueError as error:
        raise ConfigError(
            f"{setting}, {source!r}, is no Ed25519 private key in PEM: {error}.",
            hint="Make one: coterie registry keygen",
        ) from None


def write_key(path: Path | None = None) -> tuple[Path, str]:
    """Create a key that only its owner can read; return its path and its public half. An existing key stays.

    Raises:
        SetupError: the file already exists, or cannot be written.
    """
    ed25519 = _ed25519()
    path = path or key_path()
    pem = ed25519.make_key()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise SetupError(
            f"There is a file {str(path)!r} already.", hint="Use it, or name another place with --to."
        ) from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    return path, ed25519.public_of(ed25519.read_key(pem))


def key_path() -> Path:
    """Return the path at which `keygen` stores a key: in `$COTERIE_HOME`, or the user's folder of settings."""
    home = os.environ.get(_HOME_VARIABLE)
    return (Path(home).expanduser() if home else platformdirs.user_config_path("coterie")) / _KEY_FILE


def check_signature(name: str, manifest: bytes, content: bytes | None, trust: Trust) -> Signature:
    """Return what is known of this manifest's signer.

    Raises:
        ValueError: the signature is not acceptable; the message says why, after "manifest.sig ...".
        ExtraMissing: a signature is required, and the package that checks it is not installed.
    """
    if content is None:
        if trust.required:
            raise ValueError("is missing, and registry.require_signature is set")
        return UNSIGNED
    key, signature = _parse(content)
    if not trust.required and not _is_installed():
        return Signature(SignatureState.UNCHECKED, key, content)
    if not _ed25519().is_signed(key, signature, _message(name, manifest)):
        raise ValueError(f"is not the signature of this version of {name!r}")
    if key in trust.keys:
        return Signature(SignatureState.TRUSTED, key, content)
    if trust.required:
        raise ValueError(f"is of the key {key}, which is not among registry.trusted_keys")
    return Signature(SignatureState.UNTRUSTED, key, content)


def _statement(kind: str, content: bytes) -> bytes:
    return b"coterie statement\n" + kind.encode() + b"\n" + content


def _message(name: str, manifest: bytes) -> bytes:
    return b"coterie version\n" + name.encode() + b"\n" + manifest


def _parse(content: bytes) -> tuple[str, bytes]:
    """Return the key and the signature in a signature's file."""
    try:
        document = parse_json(content)
        is_valid = document["algorithm"] == "ed25519" and re.fullmatch("[0-9a-f]{64}", document["key"])
        signature = bytes.fromhex(document["signature"])
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError("is damaged") from error
    if not is_valid:
        raise ValueError("is no Ed25519 signature")
    return document["key"], signature


def _read_private(folder: Path, source: str, setting: str) -> bytes:
    path = folder / Path(source).expanduser()
    try:
        others = path.stat().st_mode & 0o077
        pem = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"Cannot read {setting}, {str(path)!r}: {error.strerror}.",
            hint="Make one with `coterie registry keygen`, or correct coterie.toml.",
        ) from error
    if others:
        raise ConfigError(f"Others may read the private key {str(path)!r}.", hint=f"Run: chmod 600 {path}")
    return pem


def _is_installed() -> bool:
    return find_spec("cryptography") is not None


def _ed25519() -> ModuleType:
    if not _is_installed():
        raise ExtraMissing(
            "Signatures need the package 'cryptography', which is not installed.",
            hint="Install it: pip install 'coterie[sign]'",
        )
    from coterie.registry import ed25519 as module  # noqa: PLC0415 - the package is optional

    return module
