"""The test server does what its switches say: asked by raw sockets, http.client and curl."""
