"""What to ask for next, and how patiently. Values in, decisions out; no I/O, no threads, no clock.

Imports: core, errors.

planner      how long requests are, which gap is next, which claim to steal from, how long to pause
ledger       *ledger*: which bytes of one transfer are held, claimed, in demand and still to be compared
             *demand*: the ranges that readers have requested and not cancelled
             *partial block*: the bytes of a suffix that begin within a block; they can be read, the block is not held
claims       *claim*: a stretch of bytes that one connection is to bring
             *orphaned claim*: what is left of a claim whose connection is gone; *evicted*: taken over, it was too slow
             *steal*: take half of what is left of another claim; *take over*: take all of it
             *sample*: held bytes that are compared with the server's before anything is written
pieces       *piece*: part of an arrived body, to be written, compared or kept
             *seam*: the first bytes of a neighbour's, which a request asks for too, so that two answers are compared
patience     *patience*: the failures in a row that are borne, the pauses between, the connections that are kept
             *alone*: with one connection, after a 403 that may have meant too many
readahead    *stream*: a place where a program reads on; *window*: how far ahead of it is requested
"""
