"""Topics whose messages are kept and can be replayed."""
