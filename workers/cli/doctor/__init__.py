"""`fleet doctor`: what could keep a fleet from working, and what to do about it."""
