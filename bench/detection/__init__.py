"""Seeded markets in which walls and icebergs are known, and how well they are found.

The market is a matching engine with price-time queues. Its participants know nothing of the detectors: ordinary
orders, takers, makers that quote again at the same price, others that join a price that was just traded, large
orders that are gone at once, and icebergs of several kinds whose parts are refilled with delays of other shapes
than the detector assumes.
"""
