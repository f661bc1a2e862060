"""One connection: its writer, transports, TLS, limits and client address."""
