"""Readers of recorded exchange traffic: what was captured elsewhere, as this fleet would have received it."""
