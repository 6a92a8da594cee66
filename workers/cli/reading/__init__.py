"""The commands that read a running fleet: book, trades, bars, watch, tail."""
