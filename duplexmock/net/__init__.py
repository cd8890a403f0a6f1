"""The only sockets and real clocks."""
