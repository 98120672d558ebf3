"""Every error that AI Flow raises on purpose.

    AiflowError
    ├── ConfigError                 a setting is wrong; the message names it
    ├── CameraError                 a camera is missing or delivers nothing
    ├── BundleError
    │   ├── BundleNotFound          no bundle of that name or at that path
    │   ├── BundleChanged           a file's hash differs from its manifest
    │   ├── BundleInvalid           the bundle is whole, but its content makes no sense
    │   └── SourceInvalid           the model that a bundle is to be made from is of no use
    ├── RuntimeUnavailable          the inference runtime is missing or refuses the model
    ├── PayloadError                bytes from the wire; each has a counter label, `reason`
    │   ├── PayloadTruncated        truncated   it ends before it should
    │   ├── PayloadMalformed        malformed   it is whole, but says something impossible
    │   ├── UnknownVersion          version     another version of the wire format
    │   ├── UnknownBundle           bundle      coded for another bundle
    │   ├── WrongChecksum           checksum    the CRC does not fit the bytes and the stream
    │   ├── WrongMac                mac         the keyed MAC does not fit
    │   └── ReferenceMissing        reference   a delta whose reference is not at hand
    ├── BrokerError
    │   ├── BrokerRefused           the broker answered no, with its reason
    │   │   └── BrokerLacks         it does not have what we need: MQTT 5, retained messages
    │   └── BrokerUnreachable       no answer
    └── StorageError                outbox or ledger: disk full, locked, corrupt

A message is one sentence that says what is wrong and, where it can, what to do.
"""

from __future__ import annotations

from typing import ClassVar


class AiflowError(Exception):
    """Base of every expected fault; its text is fit to be shown to a person."""


class ConfigError(AiflowError):
    """A configuration file, an environment variable or a name is wrong."""


class CameraError(AiflowError):
    """A camera cannot be opened or delivers no frames."""


class BundleError(AiflowError):
    """A model bundle cannot be used."""


class BundleNotFound(BundleError):
    """There is no bundle of that name or at that path."""


class BundleChanged(BundleError):
    """A file of the bundle does not have the hash its manifest gives; names the file."""


class BundleInvalid(BundleError):
    """A manifest or a file of the bundle has content that makes no sense."""


class SourceInvalid(BundleError):
    """The model that a bundle is to be made from is missing, or cannot be used."""


class RuntimeUnavailable(AiflowError):
    """The inference runtime is not installed, or refuses the model."""


class PayloadError(AiflowError):
    """Bytes that came over the wire cannot be used; `reason` labels the counter."""

    reason: ClassVar[str] = "payload"


class PayloadTruncated(PayloadError):
    """The payload ends before it should."""

    reason = "truncated"


class PayloadMalformed(PayloadError):
    """The payload is whole, but says something impossible."""

    reason = "malformed"


class UnknownVersion(PayloadError):
    """The payload is of another version of the wire format."""

    reason = "version"


class UnknownBundle(PayloadError):
    """The payload was coded for another bundle."""

    reason = "bundle"


class WrongChecksum(PayloadError):
    """The CRC does not fit the bytes and the stream they claim to belong to."""

    reason = "checksum"


class WrongMac(PayloadError):
    """The keyed MAC does not fit the bytes and the stream they claim to belong to."""

    reason = "mac"


class ReferenceMissing(PayloadError):
    """A delta was made against a frame that is not at hand."""

    reason = "reference"


class BrokerError(AiflowError):
    """The MQTT broker cannot be used."""


class BrokerRefused(BrokerError):
    """The broker refused the connection; the message carries its reason."""


class BrokerLacks(BrokerRefused):
    """The broker has no MQTT 5, or not all of it that AI Flow needs."""


class BrokerUnreachable(BrokerError):
    """The broker does not answer."""


class StorageError(AiflowError):
    """The outbox or the ledger cannot be written or read."""
