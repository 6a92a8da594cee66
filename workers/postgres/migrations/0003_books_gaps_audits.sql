CREATE TABLE top_of_book (
    instrument_id integer NOT NULL,
    published timestamptz NOT NULL,
    update_id bigint NOT NULL,
    event_time timestamptz,
    transaction_time timestamptz,
    received timestamptz,
    synced_at timestamptz,
    bid_prices numeric[] NOT NULL,
    bid_quantities numeric[] NOT NULL,
    ask_prices numeric[] NOT NULL,
    ask_quantities numeric[] NOT NULL,
    PRIMARY KEY (instrument_id, published, update_id)
) PARTITION BY RANGE (published);

CREATE VIEW quotes AS
SELECT instrument_id, published, update_id, event_time,
       bid_prices[1] AS bid_price, bid_quantities[1] AS bid_quantity,
       ask_prices[1] AS ask_price, ask_quantities[1] AS ask_quantity
FROM top_of_book;

CREATE TABLE gaps (
    instrument_id integer NOT NULL,
    time timestamptz NOT NULL,
    sequence bigint NOT NULL,
    first_id numeric,
    last_id numeric,
    told_by text NOT NULL,
    channel text NOT NULL,
    reason text NOT NULL,
    repaired text NOT NULL,
    PRIMARY KEY (instrument_id, time, sequence, told_by, channel)
) PARTITION BY RANGE (time);

COMMENT ON COLUMN gaps.told_by IS 'fleet: an entry of gaps:{S}; postgres: what is not in this database';

CREATE TABLE audits (
    instrument_id integer NOT NULL,
    time timestamptz NOT NULL,
    sequence bigint NOT NULL,
    compared_at timestamptz,
    update_id bigint,
    snapshot_id bigint,
    compared bigint,
    differing bigint,
    low numeric,
    high numeric,
    waited_s numeric,
    source text NOT NULL,
    outcome text NOT NULL,
    reason text NOT NULL,
    differences text NOT NULL,
    PRIMARY KEY (instrument_id, time, sequence)
) PARTITION BY RANGE (time);
