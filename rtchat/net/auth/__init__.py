"""Credentials: files, threads and other services say who a client is."""
