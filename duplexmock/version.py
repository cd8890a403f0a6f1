"""The version of the package; the fixture format has one of its own (store/fixture.py)."""

__version__ = "0.1.0"
