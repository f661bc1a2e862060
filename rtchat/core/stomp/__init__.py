"""STOMP on the wire: frames, the parser, the limits of a session."""
