"""The version of this package, as the heartbeat reports it."""

__version__ = "0.1.0"
