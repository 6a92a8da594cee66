// Reads a fleet's keys with the package `redis` of npm: node read.mjs [unix:///tmp/demo/run/redis.sock] [BTCUSDT]
import { createClient } from 'redis';

const [url = 'unix:///tmp/demo/run/redis.sock', symbol = 'BTCUSDT'] = process.argv.slice(2);
const path = url.startsWith('unix://') && decodeURIComponent(url.slice('unix://'.length)); // a blank in it is %20
const client = createClient(path ? { socket: { path } } : { url });
client.on('error', (error) => console.error(error.message)); // it reconnects by itself
await client.connect();

// The best 10 now. null means: withheld, and the status says why.
const shown = await client.hGet('LIVE_ORDERBOOK', symbol);
if (shown === null) {
  const [state, reason] = await client.hmGet(`book:{${symbol}}:status`, ['state', 'reason']);
  if (state === null) {
    console.error(`${symbol}: nothing is held of it; followed are`, await client.hKeys('LIVE_ORDERBOOK'));
    process.exit(1);
  }
  console.log('withheld:', state, reason);
} else {
  const book = JSON.parse(shown);
  console.log('now', book.u, 'bid', book.b[0].join(' x '), 'ask', book.a[0].join(' x '));
}

// Every published top 10 from now on.
let last = '$';
for (let read = 0; read < 3; ) {
  const found = await client.xRead({ key: `book:{${symbol}}:top`, id: last }, { COUNT: 1, BLOCK: 5000 });
  for (const { id, message } of found?.[0].messages ?? []) {
    const book = JSON.parse(message.data);
    console.log(id, book.u, 'bid', book.b[0].join(' x '), 'ask', book.a[0].join(' x '));
    last = id;
    read += 1;
  }
}

// The newest closed minutes; a later revision of a window replaces the earlier one.
const bars = new Map();
for (const { message: bar } of await client.xRange(`bars:{${symbol}}:1m`, '-', '+')) bars.set(bar.start, bar);
for (const bar of [...bars.values()].slice(-3)) {
  console.log(new Date(Number(bar.start)).toISOString(), bar.close_price, bar.volume, bar.trades_count,
    bar.complete === '1' ? 'complete' : 'incomplete');
}

// The last three trades. Members may be packed where the settings say so (docs/keys.md).
for (const member of await client.zRange(`trades:{${symbol}}:latest`, -3, -1)) {
  const trade = JSON.parse(member);
  console.log(trade.agg_trade_id, trade.price, trade.quantity, trade.is_buyer_maker ? 'sell' : 'buy');
}

client.destroy();
