"""What the doctor says to do about a broker that does not let us in, by why it does not."""

from __future__ import annotations

import datetime as dt
import importlib.util
import ipaddress
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("cryptography", reason="needs the extra enroll")

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from aiflow.cli.doctor import broker as of_broker
from aiflow.cli.doctor.broker import broker_findings
from aiflow.cli.doctor.finding import State
from aiflow.cli.doctor.settings import TierSettings
from aiflow.cli.main import run
from aiflow.common.config import Broker

if TYPE_CHECKING:
    from tests.conftest import Mosquitto


HERE = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a certificate for the broker at 127.0.0.1, and one for the device porch."""
    folder = tmp_path_factory.mktemp("enrolled") / "authority"
    for words in (["init"], ["broker", "--host", "127.0.0.1"], ["device", "porch"]):
        assert run(["enroll", *words, "--dir", str(folder)]) == 0
    return folder


@pytest.fixture
def serve(mosquitto: Mosquitto, authority: Path) -> Callable[..., Broker]:
    """Have Mosquitto do TLS with this certificate and its key; how to reach it."""

    def begin(shown: Path = authority / "broker" / "broker", *, mutual: bool = False) -> Broker:
        mosquitto.stop()
        mosquitto.configure(
            f"cafile {authority}/ca.crt\ncertfile {shown}.crt\nkeyfile {shown}.key\n"
            f"require_certificate {str(mutual).lower()}"
        )
        mosquitto.start()
        return Broker(port=mosquitto.port, ca_file=authority / "ca.crt")

    return begin


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_broker, "VERSION_S", 0.0)
    monkeypatch.setattr(of_broker, "CONNECT_S", 1.0)


def said(broker: Broker) -> tuple[str, str]:
    """What was seen of a broker that does not let us in, and what to do next."""
    found = list(broker_findings(TierSettings("device", broker=broker)))
    (finding,) = [one for one in found if one.check == "broker"]
    assert finding.state is State.FAILED
    assert "\n" not in finding.seen + finding.next
    return finding.seen, finding.next


def test_a_broker_with_tls_is_told_from_one_that_is_away(
    serve: Callable[..., Broker], mosquitto: Mosquitto
) -> None:
    plain = Broker(port=serve().port)
    seen, what_next = said(plain)
    assert "does it want TLS?" in seen
    assert "ca_file in [broker]" in what_next
    mosquitto.stop()
    seen, what_next = said(plain)
    assert "cannot be reached" in seen
    assert "is it running" in what_next


def test_a_name_that_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert "correct host of [broker]" in said(Broker(host="no.such.host.invalid"))[1]


def test_tls_to_a_port_that_has_none(mosquitto: Mosquitto, authority: Path) -> None:
    seen, what_next = said(Broker(port=mosquitto.port, ca_file=authority / "ca.crt"))
    assert "is that its TLS port?" in seen
    assert "leave ca_file out" in what_next


def test_a_certificate_of_ours_is_asked_for(
    serve: Callable[..., Broker], authority: Path, tmp_path: Path
) -> None:
    broker = serve(mutual=True)
    assert "cert_file and key_file" in said(broker)[1]
    ended = certify(authority, tmp_path / "ended", "porch")
    files = {"cert_file": ended.with_suffix(".crt"), "key_file": ended.with_suffix(".key")}
    assert "aiflow enroll list" in said(broker.model_copy(update=files))[1]


def test_what_is_wrong_with_the_brokers_certificate(
    serve: Callable[..., Broker], authority: Path, tmp_path: Path
) -> None:
    broker = serve()
    assert "--host NAME" in said(broker.model_copy(update={"host": "localhost"}))[1]
    assert run(["enroll", "init", "--dir", str(tmp_path / "other")]) == 0
    other = {"ca_file": tmp_path / "other" / "ca.crt"}
    assert "of the authority" in said(broker.model_copy(update=other))[1]
    ended = serve(certify(authority, tmp_path / "ended", "127.0.0.1"))
    seen, what_next = said(ended)
    assert "certificate has expired" in seen
    assert "aiflow enroll broker" in what_next


def test_without_cryptography_a_sentence_says_what_was_not_looked_at(
    serve: Callable[..., Broker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    found = list(broker_findings(TierSettings("device", broker=serve())))
    assert [(one.check, one.state) for one in found] == [
        ("certificate", State.WARNING),
        ("broker", State.OK),
    ]
    assert "cryptography is not installed" in found[0].seen


def certify(authority: Path, path: Path, name: str) -> Path:
    """Make PATH.crt and PATH.key, good until yesterday."""
    issuer = x509.load_pem_x509_certificate((authority / "ca.crt").read_bytes())
    signing = serialization.load_pem_private_key((authority / "ca.key").read_bytes(), None)
    assert isinstance(signing, ec.EllipticCurvePrivateKey)
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=9))
        .not_valid_after(now - dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([HERE]), critical=False)
        .sign(signing, hashes.SHA256())
    )
    path.with_suffix(".crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    path.with_suffix(".key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path
