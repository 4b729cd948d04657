package sitemap

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"offpath/reassembly"
)

// traffic is n requests of an API with so many endpoints, as unlike as they are in
// life: durations over three powers of ten, sizes over four, several statuses.
func traffic(n, endpoints int) []*reassembly.Transaction {
	rng := rand.New(rand.NewPCG(1, 1))
	list := make([]*reassembly.Transaction, n)
	for i := range list {
		tx := request(i, fmt.Sprintf("GET api.bank.example/v1/area%d/things%d/{thingId}", i%endpoints%40, i%endpoints))
		tx.Client = netip.AddrFrom4([4]byte{10, byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32())})
		tx.Duration = int64(1e6 * (1 + rng.ExpFloat64()*50))
		tx.Request.BodyBytes, tx.Response.BodyBytes = int64(rng.ExpFloat64()*300), int64(rng.ExpFloat64()*5000)
		tx.Response.Status = []int{200, 200, 200, 200, 201, 204, 400, 401, 404, 500}[rng.IntN(10)]
		list[i] = tx
	}
	return list
}

// full is a map with no room left, each of whose endpoints was asked 200 times.
func full() *Map {
	m := New(DefaultEndpoints)
	for _, tx := range traffic(200*DefaultEndpoints, DefaultEndpoints) {
		m.Observe(tx)
	}
	return m
}

func BenchmarkObserve(b *testing.B) {
	for _, endpoints := range []int{100, DefaultEndpoints} {
		b.Run(fmt.Sprint(endpoints, " endpoints"), func(b *testing.B) {
			m, list := New(0), traffic(1<<13, endpoints)
			for _, tx := range list {
				m.Observe(tx)
			}
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				m.Observe(list[i&(1<<13-1)])
				i++
			}
		})
	}
}

func BenchmarkCopyOfAFullMap(b *testing.B) {
	m := full()
	b.Run("what detection waits for", func(b *testing.B) {
		for b.Loop() {
			m.Copy()
		}
	})
	b.Run("the first request of each endpoint after it", func(b *testing.B) {
		list := traffic(DefaultEndpoints, DefaultEndpoints)
		for b.Loop() {
			m.Copy()
			for _, tx := range list {
				m.Observe(tx)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/DefaultEndpoints, "ns/request")
	})
}

func BenchmarkDocumentOfAFullMap(b *testing.B) {
	m := full()
	for name, write := range map[string]func(*Map, *Comparison) ([]byte, error){"json": (*Map).JSON, "yaml": (*Map).YAML} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				text, err := write(m, nil)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(len(text))/1e6, "MB")
			}
		})
	}
}
