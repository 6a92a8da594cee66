"""Binance spot and USD-M: streams, REST and control protocol (Binance docs, wire captures of 2026)."""
