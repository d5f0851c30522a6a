"""Blocks on disk and in memory, and what survives a crash. Imports: core, protocol, plan, errors, events, threads.

part         *part record* (FILE.part): which blocks are held, of which resource; its bytes
resume       how to start, given what an earlier run left
names        the name of the data file, where the user gives none, as this locale can write it
leftovers    what an earlier run left, read without changing it
sums         *sums* (FILE.part.sums): a checksum of each block; *unverified* blocks may differ, and no sum tells
files        marks, atomic replacement, durable names
locks        *file lock*: tried, never waited for; *folder lock*: waited for, but not for long
data_file    *data file*: written and read by any number of threads
creation     record first, then data file
record_keeper  *draft*: the blocks held at one moment, to be recorded; *checkpoint*: make a draft durable
copies       *copy*: where the blocks of one resource are kept: `local_copy`, `cached_copy`, `memory_copy`,
             `existing_file`
stamp        *stamp*: the extended attribute of a file that we finished; void once the file was touched
evidence     what speaks against a file without record (*control file*, hole, zeros), and the places to compare
controls     control files of other downloaders -> the stretches that they claim; pure
claimed_file *claimed*: the blocks of another program's leftover that may be believed once samples agree
adoption     another program's leftover becomes a download of ours
comparisons  which held blocks to compare before they are trusted
found        what a named file was found to be
destinations *destination*: what says what to ask first, and opens its copy with the first answer:
             memory here, the cache in `cache_destination`, a named file in `file_destination`
cache        *entry*: the shared copy of one URL, for those who ask in one way, in the cache folder
cache_names  which names there are ours, and what has to be true before one is touched
cached_copy  the copy in an entry, which goes on in memory (*spills*) where the entry takes no more
budget       *books*, *grants*: room is granted before bytes are written, so that the limit holds at every moment
cache_trim   what lies in the folder, and what may go

*Agreed*: the held blocks are known to be the resource's; until then the record keeps its URL and validators. A *mark*
is the extended attribute of an unfinished file. *Settle*: take the resource's identity as that of the blocks.
*Durable* is what a power cut leaves. The order on disk: the record exists before the data file and goes last; the
mark goes just before it; a block is recorded after its bytes were synced.
"""
