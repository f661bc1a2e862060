"""The history's SQLite file and the thread that uses it."""
