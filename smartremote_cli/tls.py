"""Which certificates are trusted: the system's store, as curl has it, or those of one file."""

from __future__ import annotations

import os
import ssl

from .errors import UsageError

_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
)


def tls_context(cacert: str | None, insecure: bool) -> ssl.SSLContext:
    """Return a client context: the system's store, SSL_CERT_FILE and SSL_CERT_DIR, or *cacert* alone.

    Where OpenSSL was built for another system's paths, the usual bundles and then certifi's are tried.
    """
    if insecure:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    if cacert is not None:
        try:
            return ssl.create_default_context(cafile=cacert)
        except (OSError, ssl.SSLError) as error:
            raise UsageError("--cacert", f"{cacert} cannot be read as certificates") from error
    paths = ssl.get_default_verify_paths()
    if paths.cafile or paths.capath:
        return ssl.create_default_context()
    bundle = next((path for path in _BUNDLES if os.path.exists(path)), None)
    if bundle is None:
        import certifi

        bundle = certifi.where()
    return ssl.create_default_context(cafile=bundle)
