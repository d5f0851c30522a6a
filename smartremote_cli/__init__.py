"""smartremote: any URL as a local random-access file."""

__version__ = "0.1.0"
