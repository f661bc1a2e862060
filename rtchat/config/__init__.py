"""How chat.ini is written and read; which sections and keys there are, the features say."""
