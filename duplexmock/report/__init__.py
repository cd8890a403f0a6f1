"""What people and machines read: timelines and JSON lines."""
