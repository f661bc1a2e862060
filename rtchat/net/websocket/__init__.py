"""A WebSocket as a transport for any Twisted protocol."""
