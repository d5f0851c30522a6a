"""Text from a server or an archive, made harmless for a terminal and for one line of it."""

from __future__ import annotations

import re

# Characters that control a terminal or reorder the text on it: C0, DEL and C1 controls, line and paragraph separators,
# the bidirectional controls ("Trojan Source", CVE-2021-42574); and surrogates, which no encoding can print.
# `re` compiles this at the first use: most runs meet harmless text only.
_ACTIVE = "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"


def printable(text: str) -> str:
    """Return *text* with a visible form of every character that could act on a terminal.

    C0 controls and DEL become `^[`, `^J`, `^?`, as in `unzip -l`; C1 controls and bytes that were not UTF-8
    (surrogateescape) become `\\x9b`; bidirectional controls, separators and other surrogates become `\\u202e`.
    Everything else stays, including all kinds of spaces, and joiners. The result is for people: it cannot be undone.
    """
    if text.isprintable():  # the usual case by far, at a tenth of the cost
        return text
    return re.sub(_ACTIVE, _shown, text)


def _shown(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20 or code == 0x7F:
        return f"^{chr(code ^ 0x40)}"
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
