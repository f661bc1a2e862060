"""The format of chat.ini and its readers; each feature declares its own sections and keys."""
