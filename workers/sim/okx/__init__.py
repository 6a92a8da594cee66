"""OKX v5: spot and swaps, with books of 400 levels that begin with a snapshot (OKX docs, captures of 2026)."""
