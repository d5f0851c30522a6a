"""What is claimed about speed, runnable by anyone: scripts/bench, which is python -m benchmarks.

launch starts one command and says what it took; measure alternates commands and compares them; relay is a slow
link; ground has the servers and folders; peers knows how others are told to download; transfers, links, reading
and growth are the cases; report and plot write what came out.
"""
