"""Fixtures that the tests of this folder share."""

from tests.toy import context, dataset, spec

__all__ = ["context", "dataset", "spec"]
