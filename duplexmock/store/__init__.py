"""Fixtures: the msgpack file of a recording, and what is kept out of it."""
