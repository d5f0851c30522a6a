"""Archive directories: bytes in, entries out; no I/O."""
