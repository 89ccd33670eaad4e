"""Errors that only views can raise."""

from common.errors import DovetailError


class ViewMissing(DovetailError):
    """A keyspace or table of the views is not there."""


class ViewCheckFailed(DovetailError):
    """A loaded batch version is not what the publisher said it wrote; it was not made live."""
