"""Bitfinex v2 as it is simulated: books by price and trades, each socket numbered, spot pairs."""
