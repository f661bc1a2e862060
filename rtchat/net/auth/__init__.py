"""How a session proves who it is: passwords, tokens, and hooks of your site."""
