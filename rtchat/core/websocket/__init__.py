"""WebSocket framing and compression, without I/O."""
