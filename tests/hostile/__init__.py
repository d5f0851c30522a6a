"""Right or refused: whatever the server does, exit 0 means the bytes of one version, and a record claims no wrong one.

Each file is one kind of fault. A `Row` is a fault, or several at once, and the exit codes that are right for a fresh
and for a resumed download under it; what every run must show besides is in `runs.judge_run`: bytes, record, secrets,
threads. In each file ROWS are also combined with one another (`test_together`) and most of them tried with `cat`
(`test_cat`); FOUND are rows that came to light in other tests, and stand for themselves.
"""
