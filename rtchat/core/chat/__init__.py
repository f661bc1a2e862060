"""People, presence, rooms and private messages."""
