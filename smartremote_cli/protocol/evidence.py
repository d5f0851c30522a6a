"""Evidence: what an answer says of the bytes besides its validators. It can prove a difference, never sameness.

Servers send entity tags without quotes and dates that are none; stores send the generation, the version or a hash of
an object. None of that may be sent back as a precondition, nor is it proof of equal bytes: but where two answers give
the same field with different texts, they are of different versions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from .headers import Headers, coding_of

Evidence = tuple[tuple[str, str], ...]  # fields with their texts

CODING = "Content-Encoding"

# Fields that are the same in every answer of one version, also in a 206: generations and versions of Google, Amazon,
# Azure, Alibaba, Tencent, Huawei, Oracle and Backblaze, and hashes of the whole object. Their names end alike. A
# metageneration counts changes of an object's metadata alone.
_OF_VERSION = (
    r"x-(?!.*metageneration)[a-z0-9-]*(?:-generation|-version-id|-file-id|-content-sha1|-blob-content-md5)"
)
_OF_OBJECT = (
    r"x-[a-z0-9]+-hash-[a-z0-9]+|x-checksum-(?:md5|sha1|sha256|sha512)|x-linked-etag|docker-content-digest"
    r"|oc-etag"
)
_LASTING = rf"(?:{_OF_VERSION}|{_OF_OBJECT})"

# Fields with a member for each algorithm, of the whole resource.
_HASHES = frozenset({"x-goog-hash", "oc-checksum", "repr-digest", "digest"})

# Of these, some servers compute what is wrong. Where strong tags agree they prove nothing here: the bytes themselves
# are held against them in the end.
CHECKED_LATER = ("repr-digest", "digest")

# Fields of the body that was sent: of the resource only where that is all of it (RFC 9530, 2; RFC 1864).
_OF_CONTENT = frozenset({"content-md5", "content-digest"})


def evidence_of(
    headers: Headers, *, whole: bool, etag: str | None = None, last_modified: str | None = None
) -> Evidence:
    """Return the evidence in *headers*, by field. *etag* and *last_modified* are the validators that are well-formed.

    *whole* says that the body is the whole resource, so that what is said of the body holds for it.
    """
    found: dict[str, str] = {}
    for name, counts, shown in (("etag", etag, "ETag"), ("last-modified", last_modified, "Last-Modified")):
        values = headers.all(name)
        if counts is None and any(values):
            found[shown] = ", ".join(values)
    found.update(_of_fields(headers, whole))
    coding = coding_of(headers)
    if coding is not None:
        found[CODING] = coding
    return tuple(found.items())


def differing(
    before: Mapping[str, str], now: Mapping[str, str], *, ignoring: tuple[str, ...] = ()
) -> tuple[str, str, str] | None:
    """Return the first field whose texts prove two versions, with both; None where there is none.

    A field that only one side gives proves nothing.
    """
    for name, text in before.items():
        other = now.get(name)
        is_ignored = name.split(" ")[0] in ignoring
        if other is not None and not is_ignored and _core(name, text) != _core(name, other):
            return name, text, other
    return None


def _of_fields(headers: Headers, whole: bool) -> Iterator[tuple[str, str]]:
    for name, value in headers:
        if name in _HASHES or (whole and name in _OF_CONTENT):
            for member in value.split(","):
                algorithm, equals, digest = member.strip().partition("=")
                if equals and digest.strip(":="):
                    yield f"{name} {algorithm.lower()}", digest
                elif member.strip():
                    yield name, member.strip()
        elif (name.startswith(("x-", "docker-", "oc-"))) and value and re.fullmatch(_LASTING, name):
            yield name, value


def _core(name: str, text: str) -> str:
    """Return what has to differ: `W/` and quotes come and go on the way through proxies."""
    return text.removeprefix("W/").strip('"') if name == "ETag" else text
