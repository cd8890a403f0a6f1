"""Plays of fixtures and scripts: the one loop, and which session a call is. No sockets, no event loop of its own."""
