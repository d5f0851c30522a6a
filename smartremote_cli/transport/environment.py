"""The environment's proxies: which one leads to a host, and which hosts are reached without one, as curl has it."""

from __future__ import annotations

import os
import sys

from ..core.addresses import Endpoint


def proxy_from_environment(endpoint: Endpoint) -> str | None:
    """Return the proxy that the environment names for *endpoint*, None for a direct connection.

    Names in lower case go first. HTTP_PROXY is not read: in a CGI program it is what a request says in its Proxy field
    (CVE-2016-5385).
    """
    names = [f"{endpoint.scheme}_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
    if endpoint.scheme == "http":
        names.remove("HTTPS_PROXY")
    text = _first_of(names)
    if not text and sys.platform == "darwin":  # has a setting of the system for it
        return _of_system(endpoint)
    exceptions = _first_of(["no_proxy", "NO_PROXY"])
    return text if text and not is_excepted(endpoint.host, endpoint.port, exceptions) else None


def _first_of(names: list[str]) -> str:
    """Return the value of the first of the environment variables *names* that has one, "" without any."""
    return next(filter(None, map(os.environ.get, names)), "")


def is_excepted(host: str, port: int, exceptions: str) -> bool:
    """Return whether *host* and *port* are among the *exceptions*, as no_proxy lists them.

    They are parted by commas or blanks. A name stands for the host and all below it, with or without a leading dot or
    ``*.``; an address for itself, or with /BITS for its network; ``*`` alone for every host. A port after it makes the
    exception for that port alone.
    """
    if exceptions.strip() == "*":
        return True
    host = host.lower().removesuffix(".")
    return any(_is_meant(host, port, word) for word in exceptions.lower().replace(",", " ").split())


def _is_meant(host: str, port: int, word: str) -> bool:
    if word == "*":
        return True
    name, only = _without_port(word)
    if only is not None and only != port:
        return False
    address = host.partition("%")[0]
    if ":" in address or address.replace(".", "").isdigit():
        return _is_in(address, name)
    name = name.removeprefix("*").removeprefix(".").removesuffix(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _without_port(word: str) -> tuple[str, int | None]:
    """Return the host of *word* without brackets, and the port after it if there is one."""
    if word.startswith("["):
        name, _, rest = word[1:].partition("]")
        if rest.startswith("/"):
            return name + rest, None
        port = rest.removeprefix(":")
    elif word.count(":") == 1:
        name, _, port = word.partition(":")
    else:
        return word, None
    return name, int(port) if port.isascii() and port.isdigit() else None


def _is_in(address: str, network: str) -> bool:
    import ipaddress

    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _of_system(endpoint: Endpoint) -> str | None:
    from urllib.request import getproxies, proxy_bypass

    text = getproxies().get(endpoint.scheme)
    return None if text and proxy_bypass(endpoint.host) else text
