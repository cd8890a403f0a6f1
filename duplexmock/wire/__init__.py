"""Pure: bytes to events and back. No I/O, no clock."""
