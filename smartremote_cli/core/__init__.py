"""The values that everything else is made of. No I/O, no clock, no threads.

It may import errors. Nothing in it knows HTTP messages, files or archives.

- ranges: `ByteRange`, half-open. blocks: `BlockMap`, over a Roaring bitmap.
- sizes: numbers of bytes, from and to text. text: characters made harmless for a terminal. urls: URLs as text;
  addresses: which host and port they name. file_names: what a URL or header suggests to save a file as.

Words: a *block* is 64 KiB of a resource, the last one may be shorter; it is *held* or *missing*. A *run* is a stretch
of neighbouring blocks.
"""
