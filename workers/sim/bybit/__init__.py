"""Bybit v5: spot and linear, with books of several depths that begin with a snapshot (Bybit docs, captures of 2026)."""
