"""Message selectors: the conditional expressions of SQL-92, as in JMS."""
