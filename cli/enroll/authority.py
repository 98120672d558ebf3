"""A private authority in a folder: whom it has certified, and the broker's files that follow.

    ca.crt, ca.key          whoever has the key can be anybody
    register.json           who was certified, and revoked
    broker/                 goes to the broker: its certificate, rules, list of the revoked
    <role>/<name>/          goes to that machine: ca.crt, client.crt, client.key

Keys and certificates are written once. `register.json`, `broker/acl` and `broker/crl.pem` are
written anew by each change, and one line of `broker/mosquitto.conf` when pictures come or go.
Whatever cannot be done is a ConfigError.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from aiflow.cli import private_files
from aiflow.cli.enroll import broker_files
from aiflow.cli.enroll.broker_files import BrokerFacts
from aiflow.cli.enroll.certificates import Revoked, Signer, new_authority
from aiflow.cli.enroll.identities import Identity, Role, access_file, check_fit, check_identity
from aiflow.cli.private_files import PUBLIC, SECRET
from aiflow.common.errors import ConfigError

CERTIFICATE: Final = "ca.crt"
KEY: Final = "ca.key"
REGISTER: Final = "register.json"
CLIENT_CERTIFICATE: Final = "client.crt"
CLIENT_KEY: Final = "client.key"
MAX_PREFIX: Final = 32
"""Characters; a certificate's name begins with it."""


class Enrolled(BaseModel):
    """One certificate: whose it is, its serial number in hex, when it ends or was revoked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    identity: Identity
    serial: str
    until: dt.datetime
    revoked: dt.datetime | None = None


class Register(BaseModel):
    """All that an authority remembers besides its key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    prefix: str
    broker: BrokerFacts | None = None
    issued: tuple[Enrolled, ...] = ()


class Authority:
    """An authority at work; one process at a time."""

    def __init__(self, folder: Path, register: Register, signer: Signer) -> None:
        self.folder = folder
        self._register = register
        self._signer = signer
        self.resized = False
        """The broker's greatest packet has changed, which takes a restart of it."""

    @property
    def prefix(self) -> str:
        return self._register.prefix

    @property
    def broker(self) -> BrokerFacts | None:
        return self._register.broker

    @property
    def entries(self) -> tuple[Enrolled, ...]:
        return self._register.issued

    @property
    def broker_folder(self) -> Path:
        return self.folder / "broker"

    def issue(self, identity: Identity, days: int) -> Path:
        """Make key and certificate of a new identity; returns their folder."""
        name = check_identity(identity, self.prefix).common_name(self.prefix)
        if any(name == entry.identity.common_name(self.prefix) for entry in self._valid()):
            raise ConfigError(
                f"{identity.role} {identity.name} is enrolled already, and one certificate is for "
                f"one client; for a new one: aiflow enroll revoke {identity.name}"
            )
        folder = self.folder / identity.role / identity.label
        issued = self._signer.client(name, days)
        files = {
            CERTIFICATE: (private_files.read(self.folder / CERTIFICATE), PUBLIC),
            CLIENT_CERTIFICATE: (issued.certificate, PUBLIC),
            CLIENT_KEY: (issued.key, SECRET),
        }
        private_files.new_folder(folder, files)
        entry = Enrolled(identity=identity, serial=f"{issued.serial:x}", until=issued.until)
        self._save(self._register.model_copy(update={"issued": (*self.entries, entry)}))
        return folder

    def set_up_broker(self, facts: BrokerFacts, days: int, version: broker_files.Version) -> Path:
        """Make the broker's key, certificate and configuration; returns their folder."""
        folder = self.broker_folder
        issued = self._signer.server(facts.hosts, days)
        files = {
            broker_files.AUTHORITY: (private_files.read(self.folder / CERTIFICATE), PUBLIC),
            broker_files.CERTIFICATE: (issued.certificate, PUBLIC),
            broker_files.KEY: (issued.key, SECRET),
            broker_files.CONFIGURATION: (
                broker_files.configuration(facts, version).encode(),
                PUBLIC,
            ),
        }
        private_files.new_folder(folder, files)
        self._save(self._register.model_copy(update={"broker": facts}))
        return folder

    def allow_pictures(self, device: str, *, allowed: bool) -> None:
        """Whether an enrolled device may send pictures from now on."""
        entry = self._found(device, "device")
        identity = entry.identity.model_copy(update={"pictures": allowed})
        self._exchange(entry, entry.model_copy(update={"identity": identity}))

    def revoke(self, name: str, role: Role | None) -> tuple[Enrolled, Path]:
        """Let one identity in no more; returns it, and where its files were moved to."""
        entry = self._found(name, role)
        now = dt.datetime.now(dt.UTC).replace(microsecond=0)
        revoked = entry.model_copy(update={"revoked": now})
        self._exchange(entry, revoked)
        identity = revoked.identity
        folder = self.folder / identity.role / identity.label
        aside = folder.with_name(f"{folder.name}.revoked-{revoked.serial[:8]}")
        if folder.exists():
            private_files.move(folder, aside)
        return revoked, aside

    def _found(self, name: str, role: Role | None) -> Enrolled:
        """The valid entry of that name."""
        found = [
            entry
            for entry in self._valid()
            if name in {entry.identity.name, entry.identity.label}
            and role in {None, entry.identity.role}
        ]
        if not found:
            raise ConfigError(f"{name!r} is not enrolled; `aiflow enroll list` shows who is")
        if len(found) > 1:
            who = " and ".join(f"{one.identity.role} {one.identity.label}" for one in found)
            raise ConfigError(f"{name!r} may be {who}; say which with --role, or by the last name")
        return found[0]

    def _exchange(self, old: Enrolled, new: Enrolled) -> None:
        issued = tuple(new if entry is old else entry for entry in self.entries)
        self._save(self._register.model_copy(update={"issued": issued}))

    def _valid(self) -> list[Enrolled]:
        return [entry for entry in self.entries if entry.revoked is None]

    def _save(self, register: Register) -> None:
        """The register first: what follows from it can be made again from it."""
        text = register.model_dump_json(indent=1, exclude_none=True) + "\n"
        private_files.replace(self.folder / REGISTER, text.encode(), SECRET)
        self._register = register
        self._write_rules()

    def _write_rules(self) -> None:
        folder = self.broker_folder
        if not folder.exists():
            return
        own = folder / broker_files.OWN_ACCESS
        head = (
            "# Written by `aiflow enroll`, anew with each change.\n"
            f"# Lines of your own go into {own.name} beside it, and are added below.\n"
        )
        text = head + access_file([entry.identity for entry in self._valid()], self.prefix)
        if own.exists():
            text += f"\n# From {own.name}:\n{private_files.read(own).decode(errors='replace')}"
        private_files.replace(folder / broker_files.ACCESS, text.encode(), PUBLIC)
        revoked = [
            Revoked(int(entry.serial, 16), entry.revoked)
            for entry in self.entries
            if entry.revoked is not None
        ]
        crl = self._signer.revocations(revoked)
        private_files.replace(folder / broker_files.REVOKED, crl, PUBLIC)
        self._bound_packets(folder / broker_files.CONFIGURATION)

    def _bound_packets(self, path: Path) -> None:
        """Room for pictures while a device may send some. The file may be at the broker only."""
        if not path.exists():
            return
        before = private_files.read(path).decode(errors="surrogateescape")
        pictures = any(entry.identity.pictures for entry in self._valid())
        after = broker_files.with_packet_size(before, pictures=pictures)
        if after != before:
            private_files.replace(path, after.encode(errors="surrogateescape"), PUBLIC)
            self.resized = True


def create(folder: Path, prefix: str, days: int) -> None:
    """Make a new authority for the topics below `prefix`."""
    for level in prefix.split("/"):
        check_fit("prefix", level)
    if len(prefix) > MAX_PREFIX:
        raise ConfigError(f"prefix {prefix!r} is longer than {MAX_PREFIX} characters")
    made = new_authority(f"{prefix} authority", days)
    register = Register(prefix=prefix).model_dump_json(indent=1, exclude_none=True) + "\n"
    files = {
        CERTIFICATE: (made.certificate, PUBLIC),
        KEY: (made.key, SECRET),
        REGISTER: (register.encode(), SECRET),
    }
    private_files.new_folder(folder, files)


@contextmanager
def opened(folder: Path) -> Iterator[Authority]:
    """Work with an authority, alone."""
    if not (folder / REGISTER).exists():
        raise ConfigError(
            f"there is no authority in {folder}; make one with `aiflow enroll init`, or name its "
            "folder with --dir"
        )
    with private_files.locked(folder):
        signer = Signer.load(
            private_files.read(folder / CERTIFICATE), private_files.read_secret(folder / KEY)
        )
        try:
            register = Register.model_validate_json(private_files.read(folder / REGISTER))
        except ValidationError as error:
            raise ConfigError(
                f"{folder / REGISTER} is damaged: {error.errors()[0]['msg']}"
            ) from error
        found = Authority(folder, register, signer)
        own = found.broker_folder / broker_files.OWN_ACCESS
        if own.exists():
            broker_files.check_rules(private_files.read(own).decode(errors="replace"), str(own))
        yield found
