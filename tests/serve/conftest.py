"""What several tests of the server need."""

import datetime
import ipaddress
import logging

import pytest
from hypercorn.config import Config

from serve_workers import Clock, Worker, made
from subpool.integrations.hypercorn import _supervisor
from subpool.integrations.hypercorn._listening import Listening


@pytest.fixture
def certificate(tmp_path):
    """Make a certificate for the loopback address, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "subpool")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    certificate, secret = tmp_path / "certificate.pem", tmp_path / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate, secret


@pytest.fixture
def serving(monkeypatch, caplog):
    """Make a supervisor of such workers."""
    monkeypatch.setitem(_supervisor.KINDS, "interpreter", Worker)
    made.clear()
    made.fails = None
    every = []

    def make(workers=1, **settings):
        config = Config()
        config.application_path = "app:app"
        config.workers = workers
        config.bind = ["127.0.0.1:0"]
        config.errorlog = logging.getLogger("serve-test")
        for name, value in settings.items():
            setattr(config, name, value)
        supervisor = _supervisor.Supervisor(config, {}, "interpreter", Listening(config))
        supervisor.clock = Clock(supervisor._loop)
        every.append(supervisor)
        return supervisor

    caplog.set_level(logging.INFO)
    yield make
    for supervisor in every:
        supervisor._listening.close()
        supervisor._loop.close()
