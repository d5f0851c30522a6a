"""Certificates for tests over TLS: a CA of our own, and what it signed well and badly."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificates:
    """Certificates in files: *ca* signed all but "self-signed"."""

    folder: Path

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    def files(self, name: str = "good") -> tuple[Path, Path]:
        """Return certificate and key of "good", "expired", "other-name", "unidentified" or "self-signed"."""
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def context(self, name: str = "good") -> ssl.SSLContext:
        """Return what a `Server` takes as *tls*."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.files(name))
        return context


def make_certificates(folder: Path) -> Certificates:
    """Make a CA and certificates for localhost, 127.0.0.1 and ::1 with the openssl binary, about 0.2 s."""
    openssl = shutil.which("openssl")
    if openssl is None:
        raise FileNotFoundError("no openssl binary on the PATH")

    def run(*arguments: str) -> None:
        done = subprocess.run([openssl, *arguments], cwd=folder, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"openssl {' '.join(arguments)}: {done.stderr}")

    here = "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"
    elsewhere = "subjectAltName=DNS:elsewhere.example"
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    own = ("req", "-x509", *key, "-days", "30")
    # The default configuration of openssl already makes a CA; naming the extensions twice is an error.
    run(
        *own,
        "-subj",
        "/CN=Tests CA",
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem",
        "-addext",
        "keyUsage=keyCertSign",
    )
    run(
        *own,
        "-subj",
        "/CN=localhost",
        "-keyout",
        "self-signed.key",
        "-out",
        "self-signed.pem",
        "-addext",
        here,
    )
    identified = "authorityKeyIdentifier=keyid\n"
    for name, alternative, days, identifier in (
        ("good", here, "30", identified),
        ("expired", here, "-1", identified),
        ("other-name", elsewhere, "30", identified),
        ("unidentified", here, "30", "authorityKeyIdentifier=none\nsubjectKeyIdentifier=none\n"),
    ):
        extensions = f"{alternative}\n{identifier}basicConstraints=CA:FALSE\n"
        (folder / f"{name}.ext").write_text(extensions)
        run("req", *key, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", f"{name}.ext")
        run("x509", "-req", "-in", f"{name}.csr", *signing, "-days", days, "-out", f"{name}.pem")
    return Certificates(folder)
