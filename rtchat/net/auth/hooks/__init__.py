"""Hooks: your site is asked before something happens, and told what has happened."""
