"""marketfleet: exact order books and exact trade statistics for crypto exchanges, in Redis Streams."""

__version__ = "0.1.0"
