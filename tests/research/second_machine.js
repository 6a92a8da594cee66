// Answers a replay with tardis-dev, the library that tardis-machine is made of, from a cache folder and without a network:
// what our server is compared with. Reads {cacheDir, options, raw} from standard input, where raw are lines as Tardis'
// servers send them, and writes a message a line.
const { mkdirSync, readFileSync, writeFileSync } = require('fs')
const path = require('path')
const { gzipSync } = require('zlib')
const tardis = require('tardis-dev')
const { formatDateToPath, getFilters, optimizeFilters, sha256 } = require('tardis-dev/dist/handy')

const MS = { ms: 1, s: 1000, m: 60000 }
const KINDS = { ticks: 'tick', vol: 'volume' }

function computed(name) {
  const snapshot = /^book_snapshot_(\d+)_(\d+)(ms|s|m)$/.exec(name)
  if (snapshot) {
    const [, depth, interval, unit] = snapshot
    const options = { depth: Number(depth), interval: Number(interval) * MS[unit], name, removeCrossedLevels: true }
    return tardis.computeBookSnapshots(options)
  }
  const quote = /^quote(?:_(\d+)(ms|s|m))?$/.exec(name)
  if (quote) {
    const interval = quote[1] ? Number(quote[1]) * MS[quote[2]] : 0
    return tardis.computeBookSnapshots({ depth: 1, interval, name, removeCrossedLevels: true })
  }
  const bar = /^trade_bar_([\d.]+)(ms|s|m|ticks|vol)$/.exec(name)
  if (bar) {
    const [, count, unit] = bar
    return tardis.computeTradeBars({ kind: KINDS[unit] || 'time', interval: Number(count) * (MS[unit] || 1), name })
  }
  return undefined
}

// Puts the raw lines where the library looks for what it has downloaded: a file a minute, none of them missing.
function fill(cacheDir, { exchange, symbols, from, to }, normalizers, raw) {
  const filters = optimizeFilters(getFilters(normalizers.map((make) => make(exchange, new Date(from))), symbols))
  const minutes = new Map()
  for (const line of raw) {
    const minute = line.slice(0, 16)
    minutes.set(minute, [...(minutes.get(minute) || []), line])
  }
  for (let time = Date.parse(from); time < Date.parse(to); time += MS.m) {
    const date = new Date(time)
    const file = path.join(cacheDir, 'feeds', exchange, sha256(filters), `${formatDateToPath(date)}.json.gz`)
    mkdirSync(path.dirname(file), { recursive: true })
    const lines = minutes.get(date.toISOString().slice(0, 16)) || []
    writeFileSync(file, gzipSync(lines.map((line) => `${line}\n`).join('')))
  }
}

async function main() {
  const { cacheDir, options, raw } = JSON.parse(readFileSync(0))
  tardis.init({ cacheDir, endpoint: 'https://127.0.0.1:9' })
  const { dataTypes } = options
  const books = dataTypes.some((name) => /^(book_change|book_snapshot|quote)/.test(name))
  const tickers = dataTypes.includes('book_ticker')
  const trades = dataTypes.some((name) => name.startsWith('trade'))
  const normalizers = [
    ...(trades ? [tardis.normalizeTrades] : []),
    ...(books ? [tardis.normalizeBookChanges] : []),
    ...(tickers ? [tardis.normalizeBookTickers] : [])
  ]
  fill(cacheDir, options, normalizers, raw)
  const makers = dataTypes.map(computed).filter((maker) => maker !== undefined)
  const replayed = tardis.replayNormalized({ ...options, withDisconnectMessages: true }, ...normalizers)
  const wanted = new Set(dataTypes.map((name) => (computed(name) ? name : name)))
  for await (const message of makers.length ? tardis.compute(replayed, ...makers) : replayed) {
    if (wanted.has(message.name || message.type) || message.type === 'disconnect') {
      process.stdout.write(`${JSON.stringify(message)}\n`)
    }
  }
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`)
  process.exit(1)
})
