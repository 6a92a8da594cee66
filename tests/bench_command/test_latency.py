"""What the delays of `fleet bench` mean."""

from __future__ import annotations

from workers.bench.latency import Publication, percentiles, until_seen, with_pacing, without_pacing
from workers.bench.tape import update_id

SENT_US = [0, 10_000, 20_000, 30_000, 200_000]
"""When events 0 … 4 were sent."""
PUBLICATIONS = [
    Publication(update_id(1), 1_000, 1_500),
    Publication(update_id(4), 102_000, 102_500),  # 20, 30 and 30 ms: held back until 101 ms
    Publication(update_id(5), 203_000, 204_000),
]


def test_percentiles_are_of_the_nearest_rank():
    assert percentiles([]) is None
    assert percentiles([3_000]) == (1, 3.0, 3.0, 3.0)
    assert percentiles(range(1_000, 1_001_000, 1_000)) == (1_000, 500.0, 990.0, 999.0)


def test_an_event_in_the_log_is_measured_from_its_sending():
    assert until_seen([(update_id(2), 12_000), (update_id(5), 200_700)], SENT_US) == [2_000, 700]


def test_with_the_pacing_wait_every_event_counts():
    published, read = with_pacing(PUBLICATIONS, SENT_US)
    assert published == [92_000, 82_000, 72_000, 3_000]
    assert read == [92_500, 82_500, 72_500, 4_000]


def test_without_it_a_publication_counts_from_when_it_might_have_gone_out():
    published, read = without_pacing(PUBLICATIONS, SENT_US, 100_000)
    assert published == [1_000, 1_000]  # the last one was free at 202 ms, not at 200
    assert read == [1_500, 2_000]
