"""What an archive lists, read from its directory alone: bytes in, values out.

It may import errors and core; it opens no file and no connection itself. The caller gives it a `RangeReader`, and so
decides where the bytes come from.

- entry: `Entry`, one member as any format can describe it, and `Archive`, what a listing returns.
- reader: `RangeReader`, the three questions that a listing asks of the caller; `FileReader` answers them from a file.
- format: `Format`, what a module of one format offers to the table.
- zip: the zip format. zip_end finds its directory, zip_member is an entry of it, zip_offsets tells where local
  headers are in archives that lost count past 4 GiB.
- listing: the table of formats, and `list_archive`.

A new format is a module like `zip` with a `FORMAT`, and a line in the table of `listing`.

Words: a *member* is a file or folder in the archive, an *entry* what the archive states about it, the *directory* the
part of the archive that holds the entries, the *window* the bytes by which a format is recognised.
"""
