"""What moves on the screen."""
