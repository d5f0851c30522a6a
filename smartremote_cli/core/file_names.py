"""The name under which a resource is saved: from Content-Disposition or the URL, harmless, and possible in its folder.

The grammar is that of RFC 6266 and RFC 8187; what servers send instead is read as Chrome, Firefox and `curl -J` read
it (the table at greenbytes.de/tech/tc2231 has many of the forms).
"""

from __future__ import annotations

import re
from urllib.parse import unquote, unquote_to_bytes, urlsplit

MAX_NAME = 240  # bytes: NAME.part.sums still fits the 255 that file systems allow
BESIDE = (".part", ".part.tmp", ".part.sums")  # names ending so belong to another file's download
_MAX_SUFFIX = 16  # bytes: a longer one is taken as part of the name and cut like it
# Characters read: the longest name fits, percent-encoded too, and parsing takes bounded time.
_MAX_DISPOSITION = 4096

# `re` compiles these at their first use: many runs never need them.
_PARAMETER = r"""(?s:([^\s;="]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;]*)))"""
_EXTENDED = r"(?as:([\w!#$&+^`{}~-]+)'[^']*'(.+))"
_CONTINUED = r"(?a:filename\*(\d{1,2})(\*?))"
_ENCODED_WORDS = r"(?a:=\?([\w.:+-]+)(?:\*[\w-]*)?\?([bq])\?([^?]*)\?=(?:\s+(?==\?))?)"
_RESERVED = r"(?i:(con|prn|aux|nul|com\d|lpt\d)(\..*)?)"
# What FAT, exFAT and NTFS refuse in a name, besides control characters.
_REFUSED = '[\x00-\x1f\x7f:?*"<>|\\\\/]'

# Charsets that web servers name, by their names in Python. Others of its codecs are no charsets (hex, zlib, idna), or
# have escapes of their own (utf-7, unicode_escape).
_CHARSETS = frozenset(
    "ascii utf-8 utf-16 iso8859-1 iso8859-2 iso8859-3 iso8859-4 iso8859-5 iso8859-6 iso8859-7 iso8859-8 iso8859-9 "
    "iso8859-10 iso8859-13 iso8859-14 iso8859-15 iso8859-16 cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 "
    "cp1258 cp437 cp850 cp866 cp874 cp932 cp949 cp950 koi8-r koi8-u mac-roman tis-620 gb2312 gbk gb18030 hz big5 "
    "big5hkscs shift_jis euc_jp iso2022_jp euc_kr iso2022_kr johab".split()
)


def file_name(url: str, disposition: str | None) -> str:
    """Return a bare, harmless file name for the current folder.

    It comes from Content-Disposition (RFC 6266) if that names a file, else from the URL's last segment, else it is
    `download`. It has no separators, control characters or leading dots, and is not the name of a device.
    """
    from_url = unquote(urlsplit(url).path.rpartition("/")[2])
    for candidate in (_from_disposition(disposition or ""), from_url):
        name = _harmless(candidate)
        if name:
            return name
    return "download"


def shortened(name: str, max_bytes: int) -> str:
    """Return *name* cut to *max_bytes*, before its ending: `a long n.zip`. Leave room for what is put beside it.

    Folders differ: 255 bytes in most, 143 in those of eCryptfs.
    """
    if len(_bytes(name)) <= max_bytes and not name.lower().endswith(BESIDE):
        return name
    stem, dot, suffix = name.rpartition(".")
    if not stem or len(_bytes(suffix)) > min(_MAX_SUFFIX, max_bytes // 2):
        stem, dot, suffix = name, "", ""
    room = max(1, max_bytes - len(_bytes(dot + suffix)))
    short = _bytes(stem)[:room].decode("utf-8", "ignore")  # never half a character
    if "\udc80" <= max(stem) <= "\udcff":  # spelled in ASCII
        short = short.encode().decode("ascii", "surrogateescape")
    short = (short.rstrip(". ") or "_") + dot + suffix
    if not short.lower().endswith(BESIDE):
        return short
    # A name that ends like a record's would look like another file's record.
    return f"{short}_" if len(_bytes(short)) < max_bytes else f"{short[:-1]}_"


def safer_name(name: str) -> str:
    """Return the next more careful spelling of *name*, for a folder that refuses it; *name* itself when none is left.

    First without the characters that FAT, exFAT and NTFS refuse, then in ASCII alone.
    """
    safer = re.sub(_REFUSED, "_", name).rstrip(". ")
    if safer == name:
        safer = "".join(char if " " <= char <= "~" else "_" for char in name)
    return safer or "download"


def spelled(name: str, encoding: str) -> str:
    """Return *name* such that a file system whose names have *encoding* can hold it.

    Where the locale knows ASCII only (LC_ALL=C), names are bytes without a meaning: take those of UTF-8, as the
    surrogates that Python turns back into them. Where it has a charset, what that lacks becomes `_`.
    """
    try:
        name.encode(encoding, "surrogateescape")
    except UnicodeEncodeError:
        if "a".encode(encoding) == b"a" and encoding.lower() in (
            "ascii",
            "us-ascii",
            "ansi_x3.4-1968",
            "646",
        ):
            return name.encode("utf-8", "surrogateescape").decode("ascii", "surrogateescape")
        return "".join(char if _has(encoding, char) else "_" for char in name)
    return name


def _has(encoding: str, char: str) -> bool:
    try:
        char.encode(encoding, "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def _from_disposition(value: str) -> str:
    """Return the name that *value* gives, in the order of RFC 6266: `filename*`, its continuations, `filename`."""
    found = re.findall(_PARAMETER, value[:_MAX_DISPOSITION])
    given = {name.lower(): (quoted, plain) for name, quoted, plain in reversed(found)}
    extended = "".join(given.get("filename*", ("", ""))).strip()
    quoted, plain = given.get("filename", ("", ""))
    # Only what has a meaning is an escape: `C:\dir\name` is no `C:dirname`.
    text = re.sub(r'\\(["\\])', r"\1", quoted) or plain.strip().strip('"')
    return _of_extended(extended) or _of_continued(given) or _of_plain(text)


def _of_extended(value: str) -> str:
    """Return the name in a value of RFC 8187 (`UTF-8''a%20b`), empty when it is none or not what it says."""
    match = re.fullmatch(_EXTENDED, value)
    return _decoded(_percent_decoded(match[2]), match[1]) or "" if match else ""


def _of_continued(given: dict[str, tuple[str, str]]) -> str:
    """Return the name that is cut into `filename*0*`, `filename*1` and so on (RFC 2231), as in mail."""
    pieces: dict[int, tuple[str, bool]] = {}
    for name, values in given.items():
        if match := re.fullmatch(_CONTINUED, name):
            pieces[int(match[1])] = "".join(values).strip(), bool(match[2])
    charset, data = "utf-8", b""
    for number in range(len(pieces)):
        if number not in pieces:
            break
        text, is_encoded = pieces[number]
        if number == 0 and is_encoded:
            match = re.fullmatch(_EXTENDED, text)
            if match is None:
                return ""
            charset, text = match[1], match[2]
        data += _percent_decoded(text) if is_encoded else text.encode("latin-1", "replace")
    return _decoded(data, charset) or ""


def _of_plain(text: str) -> str:
    """Return the name in a plain `filename`, which many servers encode after all: RFC 2047 words, or percent signs."""
    if "=?" in text:
        return _with_words_decoded(text)
    if "%" in text:
        try:
            return _percent_decoded(text).decode("utf-8")
        except UnicodeError:
            pass  # a percent sign that means itself
    return _as_read_by_browsers(text)


def _with_words_decoded(text: str) -> str:
    words: list[tuple[str, str, str]] = re.findall(_ENCODED_WORDS, text, re.IGNORECASE)
    if not words:
        return _as_read_by_browsers(text)
    charset = words[0][0]
    if all(word[0].lower() == charset.lower() for word in words):
        # A character may be cut in two by the end of a word: join the bytes first.
        run = re.sub(rf"(?:{_ENCODED_WORDS})+", "\0", text, flags=re.IGNORECASE)
        joined = _decoded(b"".join(map(_word_bytes, words)), charset)
        if run.count("\0") == 1 and joined:
            return run.replace("\0", joined)

    def decoded(match: re.Match[str]) -> str:
        return _decoded(_word_bytes((match[1], match[2], match[3])), match[1]) or match[0]

    return re.sub(_ENCODED_WORDS, decoded, text, flags=re.IGNORECASE)


def _word_bytes(word: tuple[str, str, str]) -> bytes:
    import binascii

    data = word[2].encode("latin-1", "replace")
    if word[1] in "qQ":
        return binascii.a2b_qp(data, header=True)
    try:
        return binascii.a2b_base64(data + b"=" * (-len(data) % 4))
    except binascii.Error:
        return b""


def _percent_decoded(text: str) -> bytes:
    """Return the bytes of *text*, whose characters each stand for a byte of the header (Latin-1)."""
    try:
        return unquote_to_bytes(text.encode("latin-1"))
    except UnicodeEncodeError:
        return unquote_to_bytes(text)


def _decoded(data: bytes, charset: str) -> str | None:
    """Return *data* as text, None when it is not what *charset* says, or that is no charset."""
    import codecs

    try:
        name = codecs.lookup(charset).name
        return data.decode(name) if name in _CHARSETS else None
    except (LookupError, UnicodeError, ValueError):
        return None


def _as_read_by_browsers(text: str) -> str:
    """Undo the Latin-1 reading of a header field whose bytes were UTF-8 or Windows-1252."""
    try:
        data = text.encode("latin-1")
    except UnicodeEncodeError:
        return text
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return text if not re.search("[\x80-\x9f]", text) else data.decode("cp1252", "replace")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _harmless(candidate: str) -> str:
    name = re.split(r"[/\\]", candidate)[-1]
    name = "".join(char if char.isprintable() else "_" for char in name).lstrip("-. ").rstrip(". ")
    if re.fullmatch(_RESERVED, name):
        name = f"_{name}"
    stem, dot, suffix = name.rpartition(".")
    if not stem or len(suffix.encode()) > _MAX_SUFFIX:
        stem, dot, suffix = name, "", ""
    room = MAX_NAME - len((dot + suffix).encode())
    name = stem.encode()[:room].decode("utf-8", "ignore").rstrip(". ") + dot + suffix
    # A name that ends like a record's would look like another file's record.
    return f"{name}_" if name.lower().endswith(BESIDE) else name
