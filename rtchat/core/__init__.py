"""Bytes and values only: no Twisted, no socket, no clock, no log."""
