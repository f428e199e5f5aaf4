"""An authority of the test's own, and certificates of servers that it vouches for."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


class Authority:
    """Trusted by whoever is given its ``ca.crt``."""

    def __init__(self, folder: Path) -> None:
        """``folder``: where its files are put; what was there of another one is replaced."""
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("an authority of these tests")
        self.file = folder / "ca.crt"
        signs = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        certificate = self._signed(self._key, self._name, x509.BasicConstraints(True, None), signs)
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def vouch_for(self, host: str) -> tuple[Path, Path]:
        """``server.crt`` and ``server.key`` of a server with this name."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.DNSName(host)])
        certificate = self._signed(key, _name(host), x509.BasicConstraints(False, None), names)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        files = self._folder / "server.crt", self._folder / "server.key"
        for path, data in zip(files, (certificate.public_bytes(serialization.Encoding.PEM), private), strict=True):
            path.write_bytes(data)
            path.chmod(0o600)
        return files

    def context_for(self, host: str) -> ssl.SSLContext:
        """Of a server with this name."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.vouch_for(host))
        return context

    def _signed(
        self, key: ec.EllipticCurvePrivateKey, name: x509.Name, *extensions: x509.ExtensionType
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder().subject_name(name).issuer_name(self._name).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - DAY).not_valid_after(now + DAY)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )  # fmt: skip
        for extension in extensions:
            builder = builder.add_extension(extension, critical=not isinstance(extension, x509.SubjectAlternativeName))
        return builder.sign(self._key, hashes.SHA256())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
