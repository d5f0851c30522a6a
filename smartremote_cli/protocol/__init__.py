"""What HTTP answers say, and how much of that is believed (RFC 9110, 9112, 9530). Values in, values out; no I/O.

Imports: core, errors.

headers      the fields of an answer
http1        *head*: a request's is built, an answer's is read; *framing*: what ends the body
answers      *answer*: what a status and its fields promise; *asked*: what the request asked for
approach     *approach*: how a server is asked, and what its answers so far have taught about that
identity     *identity*: size and validators, which tell one version of a resource from the next
             *strong* validators prove equal bytes; a date is *settled* when it may count as one,
             and validators are *racy* when the resource had only just changed
             *precondition*: the request fails when the resource changed; *condition*: 304 when it did not
evidence     *evidence*: what else tells versions apart; it proves a difference, never sameness
labels       a page of HTML where a file was asked for
verdict      *verdict*: what an answer means for a transfer, held against what is known from earlier answers
digests      *digest*: a hash that the server sent, of one answer's content or of the whole resource
chunked      *framed* bodies say where they end: by their length, or by this coding

*Unproven* is a body that may be the whole resource or a part of it; *unbelievable* is an answer that contradicts
itself, the request or the standard. Neither is written.
"""
