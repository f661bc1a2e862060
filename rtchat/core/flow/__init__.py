"""Flow control: buffered output and back-pressure, the memory budget, rate limits."""
