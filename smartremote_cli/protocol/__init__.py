"""What HTTP answers say and what may be believed of them (RFC 9110). Bytes and headers in, values out; no I/O."""
