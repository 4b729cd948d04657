package pipeline_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"offpath/capture"
	"offpath/reassembly"
	"offpath/reassembly/internal/script"
)

// apiTraffic is small JSON calls on kept-alive connections: requests of 408
// octets. Each request and its response carry the same number.
func apiTraffic(transactions, connections int, r *rand.Rand) []capture.Packet {
	s := script.New()
	s.Step = 20 * time.Microsecond
	conns := make([]*script.Connection, connections)
	for i := range conns {
		conns[i] = s.Connection()
		conns[i].Silent = true
		conns[i].Open()
	}
	for i := range transactions {
		c := conns[r.IntN(len(conns))]
		c.Client(apiRequest(i))
		c.Server(apiResponse(i))
	}
	for _, c := range conns {
		c.Close()
	}
	return s.Packets()
}

func apiRequest(i int) string {
	return fmt.Sprintf("POST /api/v1/accounts/%08d/transfers HTTP/1.1\r\nHost: api.bank.example\r\nUser-Agent: BankApp/5.2 (iPhone; iOS 17.1)\r\n"+
		"Accept: application/json\r\nAccept-Language: en-GB\r\nContent-Type: application/json\r\nX-Request-ID: %016x\r\n"+
		"Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0\r\nContent-Length: 41\r\nConnection: keep-alive\r\n\r\n"+
		"{\"amount\":\"%08d\",\"to\":\"x\",\"ref\":\"%2d\"}", i, i, i, i%100)
}

func apiResponse(i int) string {
	body := fmt.Sprintf("{\"status\":\"ok\",\"id\":%08d,\"items\":[%s]}", i, strings.TrimSuffix(strings.Repeat("\"item\",", 40), ","))
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Answers: %08d\r\nContent-Length: %d\r\n\r\n%s", i, len(body), body)
}

// judge compares what was found in a damaged capture with what can be.
func judge(t *testing.T, txs []*reassembly.Transaction, total int, lost []capture.Packet) (found, bound, wrong int) {
	t.Helper()
	gone := map[string]bool{}
	for _, p := range lost {
		if i := bytes.Index(p.Payload, []byte("/accounts/")); i >= 0 {
			gone[string(p.Payload[i+10:i+18])] = true
		} else if i := bytes.Index(p.Payload, []byte("X-Answers: ")); i >= 0 {
			gone[string(p.Payload[i+11:i+19])] = true
		}
	}
	for _, tx := range txs {
		if tx.Response.Status == 0 {
			continue
		}
		found++
		var answers string
		for _, f := range tx.Response.Detail.Fields {
			if f[0] == "X-Answers" {
				answers = f[1]
			}
		}
		if !strings.Contains(tx.Request.Path, answers) || answers == "" {
			wrong++
		}
	}
	return found, total - len(gone), wrong
}

func TestDamagedFeedsYieldWhatIsVisible(t *testing.T) {
	const total = 20000
	config := config
	config.Content.DetailHeaders = true
	for _, test := range []struct {
		name   string
		damage func(p []capture.Packet, r *rand.Rand) (kept, lost []capture.Packet)
	}{
		{"nothing happened", func(p []capture.Packet, _ *rand.Rand) (kept, lost []capture.Packet) { return p, nil }},
		{"0.1 % lost", func(p []capture.Packet, r *rand.Rand) (kept, lost []capture.Packet) { return script.Lossy(p, 0.001, r) }},
		{"1 % lost", func(p []capture.Packet, r *rand.Rand) (kept, lost []capture.Packet) { return script.Lossy(p, 0.01, r) }},
		{"5 % lost", func(p []capture.Packet, r *rand.Rand) (kept, lost []capture.Packet) { return script.Lossy(p, 0.05, r) }},
		{"10 % doubled", func(p []capture.Packet, r *rand.Rand) (kept, lost []capture.Packet) {
			return script.Doubled(p, 0.1, r), nil
		}},
		{"shuffled within 64 packets", func(p []capture.Packet, r *rand.Rand) (kept, lost []capture.Packet) {
			return script.Shuffled(p, 64, r), nil
		}},
		{"shuffled within 2000 packets", func(p []capture.Packet, r *rand.Rand) (kept, lost []capture.Packet) {
			return script.Shuffled(p, 2000, r), nil
		}},
		{"first fifth cut off", func(p []capture.Packet, _ *rand.Rand) (kept, lost []capture.Packet) {
			n := len(p) / 5
			return script.Stamp(p[n:]), p[:n]
		}},
		{"1 % lost, 1 % doubled, shuffled", func(p []capture.Packet, r *rand.Rand) (kept, lost []capture.Packet) {
			kept, lost = script.Lossy(p, 0.01, r)
			return script.Shuffled(script.Doubled(kept, 0.01, r), 64, r), lost
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(3, 5))
			packets, lost := test.damage(apiTraffic(total, 100, r), r)
			txs, stats := run(t, config, packets, 256)
			found, bound, wrong := judge(t, txs, total, lost)
			t.Logf("found %d of %d visible, %d wrong pairs, %d responses unpaired", found, bound, wrong, stats.ResponsesUnpaired)
			assert.GreaterOrEqual(t, float64(found), 0.999*float64(bound))
			assert.LessOrEqual(t, found, bound)
			assert.LessOrEqual(t, float64(wrong), 0.0001*total)
		})
	}
}

// TestLossOverManyCaptures: what is found over many lossy captures, whose losses
// fall on the beginnings and ends of connections too, is what can be; and what
// the sides said is delivered or counted as gap.
func TestLossOverManyCaptures(t *testing.T) {
	config := config
	config.Content.DetailHeaders = true
	for _, share := range []float64{0.001, 0.01} {
		t.Run(fmt.Sprintf("%.1f %% lost", 100*share), func(t *testing.T) {
			var found, bound, wrong, total int
			var said, delivered, gap uint64
			for seed := range uint64(200) {
				r := rand.New(rand.NewPCG(seed, 13))
				n := 100 + r.IntN(400)
				whole := apiTraffic(n, 1+r.IntN(20), r)
				packets, lost := script.Lossy(whole, share, r)
				txs, stats := run(t, config, packets, 256)
				f, b, w := judge(t, txs, n, lost)
				found, bound, wrong, total = found+f, bound+b, wrong+w, total+n
				for _, p := range whole {
					said += uint64(p.PayloadLen)
				}
				delivered += stats.TCP.Delivered
				gap += stats.TCP.Gap
			}
			t.Logf("found %d of %d visible, %d wrong pairs; %d octets said, %d delivered, %d missing", found, bound, wrong, said, delivered, gap)
			assert.GreaterOrEqual(t, float64(found), 0.999*float64(bound))
			assert.LessOrEqual(t, found, bound)
			assert.LessOrEqual(t, float64(wrong), 0.0001*float64(total))
			assert.LessOrEqual(t, delivered+gap, said)
			// What came last may never have been acknowledged to us.
			assert.GreaterOrEqual(t, float64(delivered+gap), 0.999*float64(said))
		})
	}
}
