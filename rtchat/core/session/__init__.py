"""The session layer: one client's STOMP session, from CONNECT to the end."""
