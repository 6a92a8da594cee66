CREATE TABLE analytics (
    instrument_id integer NOT NULL,
    told timestamptz NOT NULL,
    state text NOT NULL,
    event_time timestamptz,
    window_ms bigint,
    spread double precision,
    spread_bps double precision,
    mid double precision,
    microprice double precision,
    depth_imbalance double precision,
    order_flow_imbalance double precision,
    liquidity double precision,
    volatility double precision,
    vwap double precision,
    quote_bid double precision,
    quote_ask double precision,
    reservation double precision,
    walls jsonb,
    icebergs jsonb,
    PRIMARY KEY (instrument_id, told)
) PARTITION BY RANGE (told);

COMMENT ON TABLE analytics IS 'samples of analytics:{S}: what it said at some times, each of them once';
COMMENT ON COLUMN analytics.told IS 'when it was written, by the clock of Redis';

-- What an event is of identifies it: after Redis has lost its last second it may come again as another entry.
CREATE TABLE analytics_events (
    instrument_id integer NOT NULL,
    time timestamptz NOT NULL,
    told timestamptz,
    kind text NOT NULL,
    side text NOT NULL,
    price double precision NOT NULL,
    figures jsonb NOT NULL,
    order_id text NOT NULL,
    PRIMARY KEY (instrument_id, time, kind, side, price, order_id)
) PARTITION BY RANGE (time);

COMMENT ON COLUMN analytics_events.time IS 'of the exchange, of what showed it';
COMMENT ON COLUMN analytics_events.told IS 'when the entry was written, by the clock of Redis';
