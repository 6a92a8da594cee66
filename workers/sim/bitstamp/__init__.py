"""Bitstamp v2 as it is simulated: changes of whole books that a REST reply begins, and trades."""
