"""What a predicted frame still gets right: digits, rooms, places."""
