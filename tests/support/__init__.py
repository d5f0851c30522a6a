"""What the tests are made with. It is imported by tests and benchmarks alone, and knows nothing of a single test.

server/       a real HTTP/1.1 server on loopback, with every byte under the control of a test; `tests/server` tests it
faults/       its switches, a function a fault, and the conditions under which a fault strikes
proxy         proxies for HTTP and SOCKS 5, built on the same sockets and threads
nginx         a real nginx, for claims that are about servers
tool          the command line, in this process or in one of its own, with a home and a cache of its own
leftovers     what an interrupted run leaves: `leave_partial` to the block, `interrupt` by a real `get`
power         a disk that forgets what no sync has covered: what a power cut can leave
managers      managers with a folder of their own
threads       waits that fail instead of hanging, and what threads and descriptors a test leaves behind
requests      what the requests in a server's log asked for
headers       header fields written as they travel
archives      zip archives made by hand

Words: a *resource* is what a path of the server holds, its *content* the bytes. A *fault* edits what was asked or the
*reply*, or answers in place of the server; `when` is the condition under which it *strikes*. An *exchange* is one
request on its way to an answer, and *seen* is its entry in the log. A *pattern* is content of any size that shows
every wrong offset. PATIENCE is how many seconds a test waits for what is expected to happen soon: it only bounds how
long a failing test takes, so that no verdict depends on the speed of the machine.
"""
