"""A Django site whose users have a chat: rtchat asks this site who they are."""
