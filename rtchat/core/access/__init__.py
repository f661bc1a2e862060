"""Access control: the access list, host names and addresses."""
