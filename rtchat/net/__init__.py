"""What the reactor touches: thin adapters between sockets and :mod:`rtchat.core`."""
