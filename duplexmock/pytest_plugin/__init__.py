"""The pytest plugin: the fixture `duplex`, the marker `duplexmock`, and the guard of the network."""
