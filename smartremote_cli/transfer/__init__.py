"""One resource being filled into one copy, by threads.

May import: everything to its left (core, protocol, plan, archives, store, transport). It alone brings `store`
and `transport` together.

How a transfer goes
===================

A `Transfer` owns a `State`, which its threads share, and a `Source` (`state.Source`): a remote, the approach that its
server is asked with, and the patience that is left for it. A worker names its source to each attempt
(`Attempts.make`), and the attempt asks no other.

*Another source.* A second URL of the same resource would be a second `Source`, with a `Worker` of its own; both are
made in `Transfer.__init__`. Three things still mean the one source of `State.source`: `State.name`, which messages
use; `State.patience`, which limits all workers together; and aborting, which works for any remote over the same
transport. `library.transfers` chooses the remote that a transfer begins with.

*Begin.* The transfer probes. One worker sends the first request (there is no HEAD: the answer to the first range
brings size, validators and bytes at once). `protocol.answers` says what the answer promises by itself,
`protocol.verdict` holds that against what is known and says what it means, and how to ask from now on. An accepted
answer opens the copy (`opening`) and begins the ledger; its body serves the first claim.

*Ranges.* A *claim* is a stretch of bytes that one connection fetches. Workers take claims from the ledger, as many
workers as the patience allows. A body is cut into pieces: missing bytes are written, held bytes are compared, bytes
just past the claim are kept until the neighbour has arrived. Such an overlap of about 1 KiB is a *seam*. It is
compared because validators may lie; a difference means that two versions are mixed. *Samples* are held blocks that
are only compared: nothing is written before they agree. A claim whose connection broke is *orphaned*, and the next
free worker takes it first.

*Single stream.* A server without ranges, or one whose answers are of several versions, is read in one piece: one
claim, from byte 0. What passes is kept, what is held is compared on the way. When it breaks, it goes on in the middle
only where a strong validator proves that both halves are of one version; else it begins at byte 0 again.

*Starting over.* Mixed versions have one of five remedies (`provenance.remedy`). To go from ranges to a stream, or to
forget everything, the workers *drain*: each leaves at its next look, and the last one takes the step. So nothing of
the old version is written after the blocks were forgotten, and the record on disk is reset before anything new is
written.

*End.* `stop` and the first error end a transfer for everybody. What arrived is kept: the checkpointer saves it a last
time. Bytes that were found to disagree are dropped before that.

The phases are values in `phase`, with the table of their transitions:

    Probing ──> Ranges ──> Draining ──> SingleStream
       │           │           └──────> Ranges
       └───────────┴──> SingleStream ──> Draining
    any of them ──> Stopped | Failed

The order of locks
==================

A thread that holds one of these may take those below it, never one above. None is held while bytes are awaited from
the network.

    1. RemoteFile._digesting, then a manager's `opening` of one file, then OpenFile._lock     library
    2. Session.finishing        library: one thread at a time writes or removes the record
    3. Session._turn            library: one thread at a time replaces the transfer
    4. Session.lock             library: which transfer and copy are in use
    5. Receiver._resetting      one thread at a time resets a stale record
    6. State.cond               one guard, two conditions: `cond` for everybody, `unsaved.changed` for the checkpointer
    7. RecordKeeper's lock      store: one checkpoint at a time. Never taken with 6 held
    8. Budget._growing          store: one thread at a time asks for more room in the cache folder. Not with 7 held
    9. folder lock              store, between processes: the records and the books of one cache folder
    10. Position, Budget._lock, CachedCopy._guard, DataFile, Sums, MemoryCopy, Response, ConnectionPool: each guards its
        own fields, and takes no other

The folder lock is the only one between processes that is waited for, for `locks.LOCK_SECONDS` at most: a process that
is stopped while it holds it costs the others the cache, not their bytes. It is held while a record, or the books, are
rewritten: not while data are synced, while the folder is listed, or while anything else is waited for. The locks on
entries, and on the grants of the budget, are tried and never waited for. `tests/store/test_cache_locks.py` holds every
lock that is taken against this list.

The garbage collector runs at any line, also where a lock is held. So no `__del__` and no callback of a weak reference
takes a lock: `library.reaper` closes what was forgotten.

Files
=====

    phase, provenance, unsaved     values: where a transfer stands, whose bytes it holds, what is not durable yet
    state                          what the threads share, and the condition that guards it
    workers, worker, tries         the threads: how many, what each does, how often it tries
    attempts, opening, receive     one request; the first answer; the body of a believed one
    checkpoints, digester          threads beside the workers: the record, and a digest of the whole
    transfer                       the public face
"""
