"""Requests out, answers in: one kind of I/O, the network.

May import core, protocol, errors, events and threads; never store, and nothing above. Nothing is imported here: the
first connection is begun (`preconnect`) before the rest is loaded. Only `httpx_client` imports httpx, and only `tls`
imports ssl before it is needed.

A *transport* sends requests for a *remote* (one resource, and where its redirects led) and hands out *responses*. Each
request is an *exchange*, which any thread may abort. A *sender* carries it: `direct` over *connections* of our own,
which a *dialer* makes along a *route* (an endpoint, and maybe a proxy) and a pool keeps while they are idle; or
`httpx_client` over the caller's client. A response reads from a *body*, whose bytes go straight into the caller's
buffer.

A *visitor* is who we are to servers in one run: the credentials by origin and by netrc, the nonces that servers gave,
the cookies that they set. A *login* is how one request says so, over the *challenges* that answers pose. A *refusal* is
what a status means for the caller. The *environment* names proxies; *options* are checked when they are given. A
*variant* tells one asker from the next, so that caches keep their answers apart.

Below that: `happy_eyeballs` chooses among the addresses of a host, `tls` and `socks` stand between a socket and HTTP,
`heads` takes an answer's head out of what a connection brings, the `limiter` paces all connections together, and
`failures` puts the errors of the system into the words of `errors`.

Redirects, logging and credentials are left to `remote` in both cases: a client of its own would forward every header
across origins and print secrets.
"""
