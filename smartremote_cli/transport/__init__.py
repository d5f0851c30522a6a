"""The one package that knows httpx and httpcore: requests out, answers in, foreign exceptions translated.

Strategy: httpx carries requests, TLS set-up, proxies and pools; its own redirects, logging and body reading are
left aside, because they forward every header across origins, print secrets, and read 64 KiB at a time.

Nothing is imported here: the first connection is begun (`preconnect`) before httpx is loaded.
"""
