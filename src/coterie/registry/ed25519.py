"""Ed25519 keys and signatures (RFC 8032) of the `cryptography` package, which `coterie[sign]` brings."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)


def make_key() -> bytes:
    """Return a new private key, as PEM."""
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def read_key(pem: bytes) -> Ed25519PrivateKey:
    """Return a private key. Raises `ValueError` if it is not valid, or needs a password."""
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise ValueError(str(error)) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("it is a key of another kind")  # noqa: TRY004 - a wrong value, not a mistake in our code
    return key


def public_of(key: Ed25519PrivateKey) -> str:
    """Return the key's public half as 64 hexadecimal digits."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def is_signed(public: str, signature: bytes, message: bytes) -> bool:
    """Return whether the holder of this key signed this message."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(signature, message)
    except InvalidSignature:
        return False
    return True
