"""What a carrier is given: a directory of public files, or one PKCS#12 file. Knows no home and no address."""

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    PrivateFormat,
    pkcs12,
)

from receiver.errors import CertificateError
from receiver.pki import files, keys
from receiver.pki.issuing import Issued

_PASSWORD_BYTES: Final = 18
_COMPAT_ROUNDS: Final = 20_000


def directory(one: Issued, target: Path, *, server_authorities: Sequence[x509.Certificate], readme: str) -> None:
    """Make a directory with the certificate, its chain, the server's CA and a page that explains them. Never a key.

    Raises:
        CertificateError: it is there already, or cannot be written.
    """
    try:
        target.mkdir(mode=files.DIRECTORY_MODE, parents=True)
    except FileExistsError:
        raise CertificateError(f"{target}: exists already; name another directory with --to") from None
    except OSError as exc:
        raise CertificateError(f"{target}: cannot be made: {exc.strerror}") from None
    own = one.certificate.public_bytes(Encoding.PEM)
    contents = {
        "certificate.pem": own,
        "chain.pem": own + one.authority.certificate.public_bytes(Encoding.PEM),
        "README.txt": readme.encode(),
    }
    if server_authorities:
        contents["server-ca.pem"] = b"".join(each.public_bytes(Encoding.PEM) for each in server_authorities)
    for name, content in contents.items():
        files.write_new(target / name, content, mode=files.PUBLIC_MODE)


def bundle(one: Issued, target: Path, *, is_compat: bool) -> str:
    """Write certificate, chain and key as PKCS#12, mode 0600; the answer is its password, which is kept nowhere.

    Raises:
        CertificateError: the key is not here, or the file is there already or cannot be written.
    """
    if one.key_path is None:
        raise CertificateError(
            f"{one.path}: its key was made elsewhere and is not here; whoever has it makes the PKCS#12 file, "
            "see README.txt of: receiver certs export"
        )
    try:
        pem = one.key_path.read_bytes()
    except OSError as exc:
        raise CertificateError(f"{one.key_path}: cannot be read: {exc.strerror}") from None
    key = keys.load_key(pem, passphrase=None, where=str(one.key_path))
    if key.public_key() != one.certificate.public_key():
        raise CertificateError(f"{one.key_path}: is not the key of {one.path}")
    password = secrets.token_urlsafe(_PASSWORD_BYTES)
    content = pkcs12.serialize_key_and_certificates(
        (one.carrier or one.names[0]).encode(),
        key,
        one.certificate,
        [one.authority.certificate],
        _protection(password.encode(), is_compat=is_compat),
    )
    files.write_new(target, content, mode=files.KEY_MODE)
    return password


def _protection(password: bytes, *, is_compat: bool) -> KeySerializationEncryption:
    """Modern: PBES2 with AES-256 and a SHA-256 MAC. Older Java and macOS read only what `is_compat` gives."""
    if not is_compat:
        return BestAvailableEncryption(password)
    return (
        PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(_COMPAT_ROUNDS)
        .key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC)
        .hmac_hash(hashes.SHA1())  # noqa: S303 -- the only MAC that those readers know
        .build(password)
    )
