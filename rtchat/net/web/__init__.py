"""The web server: the page, files, health."""
