"""Kraken spot v2: books without ids, verified by the checksum of every message (Kraken docs, captures of 2026)."""
