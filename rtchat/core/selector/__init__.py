"""Message selectors: SQL-92 conditional expressions, as in JMS."""
