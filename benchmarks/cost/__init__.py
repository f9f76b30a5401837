"""What a reading costs."""
