"""The parts that a running server consists of."""
