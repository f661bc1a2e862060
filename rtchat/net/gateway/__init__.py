"""The WebSocket-to-TCP gateway."""
