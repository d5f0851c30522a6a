"""library: what Python programs and the commands use: files, managers, whole downloads, readers, fsspec.

It may import everything to its left: core, protocol, plan, archives, store, transport, transfer. The commands (`cli`)
import from here.

Words
    options     how one resource is to be read, as a value: `DownloadOptions`
    session     the one driver: one resource, one destination, one transfer after another
    view        what callers hold, and a session does the work of: `Download` (get, complete), `Reader` (cat, zip-ls),
                `OpenFile` with its `RemoteFile`s (the library, fsspec)
    expected    the digests that the whole must have: the user's checksum, else what the server announced
    exposed     bytes were handed to a reader: they must not change any more, so that nothing starts over
    handed out  the size was told to a caller: from now on a resource of another size is an error
    whole       every block is here and compared: no transfer is needed, the copy alone is read
    finished    the whole agreed with what was expected, was made durable, and its record is gone
    distrust    forget every block of a copy that was found wrong, so that it is fetched anew
    reserve     move the position on past what a read is going to return, before it is fetched
    forgotten   dropped without being closed: a thread of its own, the reaper, closes it
    pinned      held on to in a copy in memory, because somebody waits for it

Arrows (who knows whom; each file knows only what is below it)

    manager   filesystem -> manager   download   reading
       |  \\                              |          |
    background  remote_file -> open_file  |          |
    reaper      position           |      |          |
                                   \\      |         /
                                    +-- session --+          read, stream, open, ask_size, forget, close
                                       /    |    \\
                              completion  reads  transfers   which transfer is under way, and when to start over
                                       \\    |      |  \\
                                          checks   |  backpressure
                                              \\    |
                                       checksum    options

Beside the manager, `open_url` opens one URL with a manager of its own, and a `SharedFile` (`shared_file`) counts the
`RemoteFile`s of one `OpenFile`. `adopt` is a short view of a session: it opens what another program has left.

Three files name `Session` above them: checks, completion and reads are parts of it that stand in files of their own.
They import it for its type alone (under TYPE_CHECKING), and `session` imports completion when `complete` is called.

How a session goes: `attempt(wanted, work)` does *work* with the transfer under way or with a new one, and returns None
where to look again: another thread had the transfer replaced, everything is here, or the resource changed and is
started over. Every verb (read, size, complete, forget) is a loop around it. `complete` is: fill everything, compare it
with what is expected, fetch it once more where it is wrong and was not exposed, else `ChecksumError`; then finish.
Reads in order from byte 0 are digested on the way; the read that reaches the end raises.
"""
