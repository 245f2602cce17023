"""What a features folder holds, as text and pictures."""
