"""Who a session is, and what it may do: identities and rights as values."""
