-- Whose rows they are, how far each stream is stored, and the holes that may still be filled.

CREATE TABLE instruments (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    venue text NOT NULL,
    symbol text NOT NULL,
    UNIQUE (venue, symbol)
);

CREATE TABLE streams (
    instrument_id integer NOT NULL REFERENCES instruments,
    name text NOT NULL,
    stream_id text NOT NULL DEFAULT '0-0',
    fingerprint bigint NOT NULL DEFAULT 0,
    number bigint NOT NULL DEFAULT -1,
    serial bigint NOT NULL DEFAULT 0,
    chain bigint NOT NULL DEFAULT -1,
    fence bigint NOT NULL DEFAULT 0,
    written timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (instrument_id, name)
);

COMMENT ON COLUMN streams.stream_id IS 'the last entry of the Redis stream that is stored; 0-0: it is read from its beginning';
COMMENT ON COLUMN streams.fingerprint IS 'of what that entry holds';
COMMENT ON COLUMN streams.number IS 'which entry that was of all that were ever appended to the stream; -1: not known';
COMMENT ON COLUMN streams.serial IS 'grows with each write';
COMMENT ON COLUMN streams.chain IS 'of trades: the id after which the next is expected; -1: not known';
COMMENT ON COLUMN streams.fence IS 'fencing number of the worker that may write';

CREATE TABLE holes (
    instrument_id integer NOT NULL REFERENCES instruments,
    first_id bigint NOT NULL,
    last_id bigint NOT NULL,
    after_ms bigint NOT NULL,
    before_ms bigint NOT NULL,
    is_room boolean NOT NULL,
    was_trimmed boolean NOT NULL,
    found timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (instrument_id, first_id, last_id, before_ms)
);

COMMENT ON TABLE holes IS 'trades that were not in the stream and may still come from the repair over REST';
