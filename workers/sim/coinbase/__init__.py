"""Coinbase by both of its ways, each with books and trades of its own here: Advanced Trade and Exchange."""
