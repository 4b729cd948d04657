package wiring

import (
	"fmt"

	"offpath/cmd/offpath/internal/config"
	"offpath/reassembly"
	"offpath/reassembly/content"
	"offpath/reassembly/order"
	"offpath/reassembly/pipeline"
	"offpath/reassembly/tls"
)

// Extras are what is asked of reassembly beyond the configuration.
type Extras struct {
	Divided   bool // workers share the shards, as in live capture
	Detail    Detail
	Cleartext bool
	TLS       tls.Config // what to decrypt with
}

// Detail says what more there is to be in transactions, and among them.
type Detail struct {
	Headers   bool // header fields with their values
	Bodies    bool // hashes and decoded sizes of bodies
	Sensitive bool // classes of sensitive data
	TLS       bool // every ClientHello as a line of its own
	Sockets   bool // every WebSocket as a line of its own, at its end
}

// Pipeline makes reassembly for a number of workers, whose transactions go to
// feed in their order. Close it to have the rest fed.
func Pipeline(c *config.Config, key []byte, workers int, extras Extras, feed Feed) (*pipeline.Pipeline, error) {
	merger := order.New(workers, feed)
	p, err := pipeline.New(pipeline.Config{
		Workers: workers,
		Memory:  int64(c.Reassembly.MemoryMiB) << 20,
		Divided: extras.Divided,
		Content: content.Config{
			Key:            key,
			Cleartext:      extras.Cleartext,
			TrustedProxies: c.Client.TrustedProxies,
			IgnoreHeaders:  c.Client.IgnoreHeaders,
			DetailHeaders:  extras.Detail.Headers,
			DetailBodies:   extras.Detail.Bodies,
			Sensitive:      extras.Detail.Sensitive,
		},
		Hellos:  extras.Detail.TLS,
		Sockets: extras.Detail.Sockets,
		TLS:     extras.TLS,
	}, func(worker int, txs []*reassembly.Transaction, watermark int64) { merger.Push(worker, txs, watermark) })
	if err != nil {
		return nil, fmt.Errorf("start reassembly: %w", err)
	}
	return p, nil
}
