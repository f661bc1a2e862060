"""Back-pressure: the way out of a connection, the memory budget, rates."""
