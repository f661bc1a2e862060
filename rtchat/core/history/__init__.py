"""Topics with a history: their messages are stored and can be replayed."""
