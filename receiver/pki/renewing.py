"""The next certificate in place of one that was issued: by the CA that issues now, with a new key where we made it."""

from receiver.errors import CertificateError, UsageError
from receiver.pki import authority, issuing, keys
from receiver.pki.authority import Authority
from receiver.pki.build import is_development
from receiver.pki.issuing import Issued


def renew(old: Issued, own: Authority, *, now: int, passphrase: bytes | None, request: bytes | None = None) -> Issued:
    """Issue the next certificate; the old one stays as it is.

    Raises:
        UsageError: its key was made elsewhere and there is no new request, or the other way round.
        CertificateError: the request or the authority's key cannot be used.
    """
    if is_development(own.certificate) != is_development(old.authority.certificate):
        raise CertificateError(f"{own.name} and {old.authority.name}: only one of them is a development CA")
    if old.key_path is None and request is None:
        raise UsageError(
            f"{old.carrier or old.path} made its key itself; ask for a new signing request (with a new key) and give "
            "it with --csr FILE"
        )
    if old.carrier is None:
        if request is not None:
            raise UsageError("--csr is for a carrier's certificate; a server's gets a new key here")
        return issuing.issue_server(own, old.names, now=now, passphrase=passphrase, rsa_bits=_rsa_bits(old))
    return issuing.issue_client(
        own,
        old.carrier,
        now=now,
        passphrase=passphrase,
        request=request,
        rsa_bits=None if request is not None else _rsa_bits(old),
    )


def has_same_key(old: Issued, new: Issued) -> bool:
    """Did the carrier send a request for the key it had?"""
    return old.certificate.public_key() == new.certificate.public_key()


def may_revoke(old: Issued, *, passphrase: bytes | None) -> None:
    """Find out before anything is issued whether the old one could be revoked afterwards.

    Raises:
        CertificateError: the key of its authority cannot be used.
    """
    authority.signer(old.authority, passphrase=passphrase)


def _rsa_bits(old: Issued) -> int | None:
    """The kind of key stays: whoever needed RSA needs it still."""
    size = getattr(old.certificate.public_key(), "key_size", 0)
    return size if size in keys.RSA_BITS else None
