"""X.509 for a private authority: keys, certificates, the list of revoked ones. Touches no file.

Elliptic keys (P-256): small, and every TLS library knows them. A certificate is good for one side
only, server or client, so that no device can pass itself off as the broker. Needs `cryptography`.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from aiflow.cli.enroll.identities import MAX_COMMON_NAME
from aiflow.common.errors import ConfigError

MAX_HOST: Final = 253
_SKEW: Final = dt.timedelta(hours=1)
"""Certificates are good from this much before they are made: a device's clock may be behind."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes
    serial: int
    until: dt.datetime


@dataclass(frozen=True, slots=True)
class Revoked:
    """What the list says of one certificate."""

    serial: int
    at: dt.datetime


class Signer:
    """The authority's certificate and key."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._certificate = certificate
        self._key = key

    @classmethod
    def load(cls, certificate: bytes, key: bytes) -> Self:
        """Read both from PEM. Raises ConfigError if they are none, or do not belong together."""
        try:
            read = x509.load_pem_x509_certificate(certificate)
            private = serialization.load_pem_private_key(key, None)
        except (ValueError, TypeError) as error:
            raise ConfigError(f"the authority's certificate or key is damaged: {error}") from error
        if not isinstance(private, ec.EllipticCurvePrivateKey):
            raise ConfigError("the authority's key is no elliptic one; it is not ours")
        if private.public_key() != read.public_key():
            raise ConfigError("the authority's key does not belong to its certificate")
        return cls(read, private)

    @property
    def until(self) -> dt.datetime:
        return self._certificate.not_valid_after_utc

    def client(self, common_name: str, days: int) -> Issued:
        """Make a certificate by which a client proves that it is `common_name`."""
        return self._issue(common_name, days, ExtendedKeyUsageOID.CLIENT_AUTH, ())

    def server(self, hosts: Sequence[str], days: int) -> Issued:
        """Make a certificate for the host names and addresses, of which there is at least one."""
        usage = ExtendedKeyUsageOID.SERVER_AUTH
        return self._issue(hosts[0][:MAX_COMMON_NAME], days, usage, hosts)

    def revocations(self, revoked: Iterable[Revoked]) -> bytes:
        """The list of revoked certificates, PEM.

        It is good for as long as the authority: once a list is out of date, nobody gets in.
        """
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._certificate.subject)
            .last_update(_now() - _SKEW)
            .next_update(self.until)
            .add_extension(self._issuer_key(), critical=False)
            .add_extension(x509.CRLNumber(int(_now().timestamp())), critical=False)
        )
        for one in revoked:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(one.serial)
                .revocation_date(one.at)
                .build()
            )
        signed = builder.sign(self._key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)

    def _issue(
        self, common_name: str, days: int, usage: x509.ObjectIdentifier, hosts: Sequence[str]
    ) -> Issued:
        key = ec.generate_private_key(ec.SECP256R1())
        until = min(_now() + dt.timedelta(days=days), self.until)
        builder = (
            _builder(common_name, key, until)
            .issuer_name(self._certificate.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(self._issuer_key(), critical=False)
        )
        if hosts:
            names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return Issued(
            certificate.public_bytes(serialization.Encoding.PEM),
            _pem(key),
            certificate.serial_number,
            certificate.not_valid_after_utc,
        )

    def _issuer_key(self) -> x509.AuthorityKeyIdentifier:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())


def new_authority(name: str, days: int) -> Issued:
    """Make a certificate that signs others, and nothing above or below it."""
    key = ec.generate_private_key(ec.SECP256R1())
    until = _now() + dt.timedelta(days=days)
    certificate = (
        _builder(name, key, until)
        .issuer_name(_subject(name))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Issued(
        certificate.public_bytes(serialization.Encoding.PEM),
        _pem(key),
        certificate.serial_number,
        certificate.not_valid_after_utc,
    )


def check_host(host: str) -> str:
    """Return a host name or an IP address as certificates write it; ConfigError if it is none."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    labels = host.split(".")
    fit = all(
        label.isascii()
        and label.replace("-", "").isalnum()
        and not label.startswith("-")
        and not label.endswith("-")
        and len(label) <= 63
        for label in labels
    )
    if not fit or len(host) > MAX_HOST:
        raise ConfigError(f"host {host!r} is no host name and no address; wildcards are refused")
    return host


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _builder(
    common_name: str, key: ec.EllipticCurvePrivateKey, until: dt.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_subject(common_name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_now() - _SKEW)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _subject(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC).replace(microsecond=0)
