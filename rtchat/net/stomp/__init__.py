"""STOMP over any transport, and a STOMP client."""
