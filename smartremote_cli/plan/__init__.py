"""What to ask for next, and how patiently. Values in, decisions out; no I/O, no threads."""
