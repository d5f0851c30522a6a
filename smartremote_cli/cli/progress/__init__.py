"""How progress is shown: a bar, log lines or JSON."""
