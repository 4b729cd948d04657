package wiring

import (
	"fmt"

	"offpath/cmd/offpath/internal/config"
	"offpath/reassembly"
	"offpath/reassembly/content"
	"offpath/reassembly/order"
	"offpath/reassembly/pipeline"
)

// Extras are what a replay may ask of reassembly beyond the configuration.
type Extras struct {
	DetailHeaders, DetailBodies bool
	Cleartext                   bool
}

// Pipeline makes reassembly for a number of workers, whose transactions go to
// feed in their order. Close it to have the rest fed.
func Pipeline(c *config.Config, key []byte, workers int, extras Extras, feed Feed) (*pipeline.Pipeline, error) {
	merger := order.New(workers, feed)
	p, err := pipeline.New(pipeline.Config{
		Workers: workers,
		Memory:  int64(c.Reassembly.MemoryMiB) << 20,
		Content: content.Config{
			Key:            key,
			Cleartext:      extras.Cleartext,
			TrustedProxies: c.Client.TrustedProxies,
			DetailHeaders:  extras.DetailHeaders,
			DetailBodies:   extras.DetailBodies,
		},
	}, func(worker int, txs []*reassembly.Transaction, watermark int64) { merger.Push(worker, txs, watermark) })
	if err != nil {
		return nil, fmt.Errorf("start reassembly: %w", err)
	}
	return p, nil
}
