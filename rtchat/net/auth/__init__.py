"""Passwords, tokens and hooks: what finds out who a client is."""
