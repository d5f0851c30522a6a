"""What digests in headers are taken for."""

from __future__ import annotations

import hashlib
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartremote_cli.protocol.digests import of_content, of_resource
from smartremote_cli.protocol.headers import Headers

DATA = b"some bytes"
SHA256 = b64encode(hashlib.sha256(DATA).digest()).decode()
SHA512 = b64encode(hashlib.sha512(DATA).digest()).decode()


@pytest.mark.parametrize(
    ("value", "algorithm"),
    [
        (f"sha-256=:{SHA256}:", "sha256"),
        (f"sha-512=:{SHA512}:", "sha512"),
        (f"sha-256=:{SHA256}:, sha-512=:{SHA512}:", "sha512"),
        (f"md5=:AAAA:,  sha-256=:{SHA256}:;p=1 , x=?1", "sha256"),
        (f"SHA-256={SHA256}", "sha256"),  # RFC 3230
        (f"sha-256={SHA256},unixsum=30637", "sha256"),
        (f"sha-512=:{SHA256}:, sha-256=:{SHA256}:", "sha256"),  # the first is of the wrong length
    ],
)
def test_the_strongest_known_digest_counts(value: str, algorithm: str) -> None:
    for name, read in (("Content-Digest", of_content), ("Repr-Digest", of_resource), ("Digest", of_resource)):
        digest = read(Headers([(name, value)]))
        assert digest is not None and digest.algorithm == algorithm
        hasher = digest.hasher()
        assert not digest.fits(hasher)
        hasher.update(DATA)
        assert digest.fits(hasher)


@pytest.mark.parametrize(
    "value",
    ["", "sha-256", "sha-256=", "sha-256=::", "sha-256=:AAAA:", f"sha-256=:{SHA256}", f"sha-256=:{SHA256[:-1]}:",
     f"sha-1=:{SHA256}:", f"sha-256=:{SHA512}:", "sha-256=:!!!!:", f"sha256={SHA256}", f"sha-256 {SHA256}", "=:AAAA:"],
)  # fmt: skip
def test_what_is_malformed_or_unknown_is_as_if_absent(value: str) -> None:
    assert of_content(Headers([("Content-Digest", value)])) is None
    assert of_resource(Headers([("Digest", value)])) is None


def test_each_field_means_what_it_says() -> None:
    assert of_content(Headers([("Repr-Digest", f"sha-256=:{SHA256}:")])) is None
    assert of_resource(Headers([("Content-Digest", f"sha-256=:{SHA256}:")])) is None
    both = Headers([("Digest", f"sha-512={SHA512}"), ("Repr-Digest", f"sha-256=:{SHA256}:")])
    digest = of_resource(both)
    assert digest is not None and digest.algorithm == "sha256"


@given(st.text())
def test_no_text_is_too_odd(value: str) -> None:
    of_content(Headers([("Content-Digest", value)]))
