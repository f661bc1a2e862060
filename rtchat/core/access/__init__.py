"""Who may reach what: the access list, host names, addresses."""
