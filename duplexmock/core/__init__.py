"""Pure: what a call is, what may come next on it, in which order it went. No I/O, no clock, no wire."""
