CREATE TABLE trades (
    instrument_id integer NOT NULL,
    is_buyer_maker boolean NOT NULL,
    is_market boolean NOT NULL,
    time timestamptz NOT NULL,
    trade_id bigint NOT NULL,
    first_trade_id bigint NOT NULL,
    last_trade_id bigint NOT NULL,
    event_time timestamptz,
    received timestamptz,
    price numeric NOT NULL,
    quantity numeric NOT NULL,
    line text NOT NULL,
    venue_trade_id text NOT NULL DEFAULT '',
    PRIMARY KEY (instrument_id, time, trade_id, venue_trade_id)
) PARTITION BY RANGE (time);

-- Where ids only name trades, trade_id is the log's own number, and a log that was lost counts anew.
CREATE UNIQUE INDEX trades_named ON trades (instrument_id, time, venue_trade_id) WHERE venue_trade_id <> '';

CREATE TABLE bars (
    instrument_id integer NOT NULL,
    revision integer NOT NULL,
    start timestamptz NOT NULL,
    last_update_time timestamptz,
    trades_count bigint,
    skipped_count bigint,
    is_buyer_maker_count bigint,
    first_trade_id bigint,
    last_trade_id bigint,
    first_agg_trade_id bigint,
    last_agg_trade_id bigint,
    complete boolean NOT NULL,
    "interval" text NOT NULL,
    reason text NOT NULL,
    open_price numeric,
    high_price numeric,
    low_price numeric,
    close_price numeric,
    volume numeric,
    quote_volume numeric,
    buy_volume numeric,
    PRIMARY KEY (instrument_id, "interval", start, revision)
) PARTITION BY RANGE (start);

CREATE VIEW latest_bars AS
SELECT DISTINCT ON (instrument_id, "interval", start) *
FROM bars
ORDER BY instrument_id, "interval", start, complete DESC, revision DESC;

COMMENT ON VIEW latest_bars IS 'of each window the version that counts: the proven one, else the last';
