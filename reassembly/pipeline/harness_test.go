package pipeline_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/capture"
	"offpath/reassembly"
	"offpath/reassembly/content"
	"offpath/reassembly/pipeline"
)

var config = pipeline.Config{Content: content.Config{Key: []byte("0123456789abcdef"), Cleartext: true}}

// run feeds packets to a pipeline in batches and returns its transactions in
// order. Books are checked on the way.
func run(t testing.TB, config pipeline.Config, packets []capture.Packet, batch int) ([]*reassembly.Transaction, pipeline.Stats) {
	t.Helper()
	workers := max(1, config.Workers)
	marks := make([]int64, workers)
	for i := range marks {
		marks[i] = math.MinInt64
	}
	var all []*reassembly.Transaction
	p, err := pipeline.New(config, func(worker int, txs []*reassembly.Transaction, watermark int64) {
		for _, tx := range txs {
			require.GreaterOrEqual(t, tx.End, marks[worker], "a transaction ends before the watermark")
		}
		marks[worker] = watermark
		all = append(all, txs...)
	})
	require.NoError(t, err)
	for len(packets) > 0 {
		n := min(batch, len(packets))
		parts := make([][]capture.Packet, workers)
		for _, packet := range packets[:n] {
			w := int(packet.Shard) % workers
			parts[w] = append(parts[w], packet)
		}
		for w := range parts {
			p.Handle(w, capture.Batch{Packets: parts[w], Clock: packets[n-1].Clock})
		}
		packets = packets[n:]
	}
	p.Close()
	slices.SortFunc(all, func(a, b *reassembly.Transaction) int {
		if reassembly.Less(a, b) {
			return -1
		}
		return 1
	})
	stats := p.Stats()
	balance(t, &stats)
	assert.Zero(t, p.Charged(), "octets that were not given back")
	return all, stats
}

// balance checks the books of a pipeline that is closed.
func balance(t testing.TB, s *pipeline.Stats) {
	t.Helper()
	assert.Equal(t, s.TCP.Octets, s.TCP.Delivered+s.TCP.Duplicate+s.TCP.Ignored+s.TCP.Dropped+s.TCP.Stray, "octets")
	assert.Zero(t, s.TCP.Buffered, "octets that wait after the end")
	assert.Zero(t, s.TCP.Flows, "flows after the end")
	closed := uint64(0)
	for _, n := range s.TCP.FlowsClosed {
		closed += n
	}
	assert.Equal(t, s.TCP.FlowsOpened, closed, "flows")
	assert.Equal(t, s.HTTP.Requests+s.HTTP2.Requests, s.Transactions+s.RequestsAbandoned, "requests")
}

// lines renders what tests compare: one line per transaction.
func lines(txs []*reassembly.Transaction) []string {
	list := []string{}
	for _, tx := range txs {
		line := fmt.Sprintf("%s %s %d req=%d res=%d", tx.Request.Method, tx.Request.Target, tx.Response.Status, tx.Request.BodyBytes, tx.Response.BodyBytes)
		if len(tx.Informational) > 0 {
			line += fmt.Sprint(" info=", tx.Informational)
		}
		if tx.GapBytes > 0 {
			line += fmt.Sprint(" gap=", tx.GapBytes)
		}
		if names := append(tx.Flags.Names(), tx.Anomalies.Names()...); len(names) > 0 {
			line += " " + strings.Join(names, ",")
		}
		if !tx.Complete {
			line += " incomplete"
		}
		list = append(list, line)
	}
	return list
}
