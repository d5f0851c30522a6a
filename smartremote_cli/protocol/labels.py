"""Labels: what an answer says that its body is, and where that cannot be true of what was asked for."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from .headers import Headers

_PAGES = frozenset({"text/html", "application/xhtml+xml"})

# Endings of names whose content is never a page.
_BINARY = frozenset(
    "7z apk avi bin bz2 cab cpio deb dmg docx epub exe flac gguf gif gz h5 hdf5 img iso jar jpeg jpg lz4 lzma m4a mkv "
    "mov mp3 mp4 msi nc npy npz ogg onnx parquet pdf pkg png pptx pt qcow2 rar rpm safetensors sqlite tar tbz2 tgz tif "
    "tiff txz vhd vhdx vmdk war wav webm webp whl wim xlsx xz zip zst".split()
)


def page_instead_of(headers: Headers, url: str) -> str | None:
    """Return the file that *url* names when the answer is a page of HTML in its place, else None.

    The name may be followed by a word, as in `/files/a.zip/download`.
    """
    media_type = (headers.get("content-type") or "").partition(";")[0].strip().lower()
    if media_type not in _PAGES:
        return None
    for segment in reversed(urlsplit(url).path.split("/")[-2:]):
        name = unquote(segment)
        if name.rpartition(".")[0] and name.rpartition(".")[2].lower() in _BINARY:
            return name if name.isprintable() else segment
    return None
