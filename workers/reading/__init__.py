"""What the commands that read a running fleet do and show."""
