"""One client's STOMP conversation."""
