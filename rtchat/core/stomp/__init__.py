"""STOMP on the wire: frames, the parser, limits of a session."""
