// Reads a fleet's keys with redigo: go run read.go [unix:///tmp/demo/run/redis.sock] [BTCUSDT]
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"
)

// Top is the payload of LIVE_ORDERBOOK and book:{S}:top. Prices and quantities are text: no digit is lost.
type Top struct {
	UpdateID int64       `json:"u"`
	Bids     [][2]string `json:"b"`
	Asks     [][2]string `json:"a"`
}

// Trade is a member of trades:{S}:latest.
type Trade struct {
	ID           int64  `json:"agg_trade_id"`
	Price        string `json:"price"`
	Quantity     string `json:"quantity"`
	IsBuyerMaker bool   `json:"is_buyer_maker"`
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func show(place string, payload []byte) {
	var top Top
	if err := json.Unmarshal(payload, &top); err != nil {
		log.Fatal(err)
	}
	fmt.Println(place, top.UpdateID, "bid", top.Bids[0], "ask", top.Asks[0])
}

func main() {
	address, symbol := "unix:///tmp/demo/run/redis.sock", "BTCUSDT"
	if len(os.Args) > 1 {
		address = os.Args[1]
	}
	if len(os.Args) > 2 {
		symbol = os.Args[2]
	}
	// The time to read must be longer than the time XREAD blocks.
	patience := redis.DialReadTimeout(8 * time.Second)
	var client redis.Conn
	if strings.HasPrefix(address, "unix://") {
		path := must(url.PathUnescape(strings.TrimPrefix(address, "unix://"))) // a blank in it is %20
		client = must(redis.Dial("unix", path, patience))
	} else {
		client = must(redis.DialURL(address, patience))
	}
	defer client.Close()

	// The best 10 now. ErrNil means: withheld, and the status says why.
	payload, err := redis.Bytes(client.Do("HGET", "LIVE_ORDERBOOK", symbol))
	if err == redis.ErrNil {
		why := must(redis.Strings(client.Do("HMGET", "book:{"+symbol+"}:status", "state", "reason")))
		if why[0] == "" {
			log.Fatalf("%s: nothing is held of it; followed are %s", symbol, must(redis.Strings(client.Do("HKEYS", "LIVE_ORDERBOOK"))))
		}
		fmt.Println("withheld:", why)
	} else {
		show("now", must(payload, err))
	}

	// Every published top 10 from now on.
	last := "$"
	for read := 0; read < 3; {
		reply, err := redis.Values(client.Do("XREAD", "COUNT", 1, "BLOCK", 5000, "STREAMS", "book:{"+symbol+"}:top", last))
		if err == redis.ErrNil {
			continue
		}
		stream := must(redis.Values(must(reply, err)[0], nil))
		for _, entry := range must(redis.Values(stream[1], nil)) {
			pair := must(redis.Values(entry, nil))
			last = must(redis.String(pair[0], nil))
			show(last, []byte(must(redis.StringMap(pair[1], nil))["data"]))
			read++
		}
	}

	// The newest closed minutes, the newest first. Of a window that was revised the version that counts comes first.
	shown := map[string]bool{}
	for _, entry := range must(redis.Values(client.Do("XREVRANGE", "bars:{"+symbol+"}:1m", "+", "-", "COUNT", 10))) {
		bar := must(redis.StringMap(must(redis.Values(entry, nil))[1], nil))
		if shown[bar["start"]] || len(shown) == 3 {
			continue
		}
		shown[bar["start"]] = true
		fmt.Println(bar["start"], bar["close_price"], bar["volume"], bar["trades_count"], "complete", bar["complete"])
	}

	// The last three trades. Members may be packed where the settings say so (docs/keys.md).
	for _, member := range must(redis.ByteSlices(client.Do("ZRANGE", "trades:{"+symbol+"}:latest", -3, -1))) {
		var trade Trade
		if err := json.Unmarshal(member, &trade); err != nil {
			log.Fatal(err)
		}
		fmt.Println(trade.ID, trade.Price, trade.Quantity, "buyer waited:", trade.IsBuyerMaker)
	}
}
