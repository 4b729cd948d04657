package engine

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"offpath/detect"
	"offpath/detect/policy"
	"offpath/detect/sitemap"
	"offpath/reassembly"
)

// nothing is a Sink that forgets.
type nothing struct{}

func (nothing) Finding(*detect.Finding) {}
func (nothing) Verdict(*detect.Verdict) {}

// reads is n requests of an app under a session, by as many clients.
func reads(n int) []*reassembly.Transaction {
	list := make([]*reassembly.Transaction, n)
	for i := range list {
		client := netip.AddrFrom4([4]byte{81, byte(i >> 16), byte(i >> 8), byte(i)})
		tx := &reassembly.Transaction{ID: fmt.Sprint(i), Client: client, Source: netip.AddrPortFrom(client, 4000), CommunityID: fmt.Sprint("1:", i)}
		tx.Request.Method, tx.Request.Domain, tx.Request.Path = "GET", "api.bank.example", fmt.Sprintf("/v1/accounts/%d/transactions", 1000+i)
		tx.Request.Headers = []string{"host", "user-agent", "accept", "accept-encoding", "authorization"}
		tx.Auth = reassembly.Auth{Carrier: "bearer", SessionPresented: []string{fmt.Sprintf("%016x", i+1)}}
		tx.Response.Status = 200
		list[i] = tx
	}
	return list
}

// warm is an engine that has seen an attack and has verdicts in force.
func warm(tb testing.TB) *Engine {
	e, err := New(Config{}, nothing{})
	if err != nil {
		tb.Fatal(err)
	}
	for i, y := range merge(customers(1, 2000, 0, minute, 0.08), attack{seed: 1, addresses: 40, length: minute, period: second}.tries()) {
		e.Observe(y.transaction(i))
	}
	if e.Stats().ActiveVerdicts == 0 {
		tb.Fatal("no verdicts in force")
	}
	return e
}

func TestARequestThatIsNoLoginAllocatesNothing(t *testing.T) {
	e := warm(t)
	list := reads(512)
	i := 0
	observe := func() {
		tx := list[i%len(list)]
		i++
		tx.Start, tx.End = e.clock, e.clock+1e6
		e.Observe(tx)
	}
	for range len(list) {
		observe()
	}
	assert.Zero(t, testing.AllocsPerRun(2000, observe))
}

func TestALoginAllocatesLittle(t *testing.T) {
	e := warm(t)
	var list []*reassembly.Transaction
	for i := range 4000 {
		list = append(list, try{client: fmt.Sprintf("81.0.%d.%d", i>>8, i&255), account: fmt.Sprint(i), password: "p", right: true}.transaction(i))
	}
	i := 0
	assert.LessOrEqual(t, testing.AllocsPerRun(3000, func() {
		tx := list[i]
		i++
		tx.Start, tx.End = e.clock, e.clock+1e6
		e.Observe(tx)
	}), 1.0)
}

func BenchmarkObserve(b *testing.B) {
	logins := make([]*reassembly.Transaction, 1<<16)
	for i := range logins {
		y := try{client: fmt.Sprintf("81.%d.%d.%d", i>>16, i>>8&255, i&255), account: fmt.Sprint(i), password: "p", right: i%10 != 0}
		logins[i] = y.transaction(i)
	}
	forwarded := reads(1 << 14)
	for _, tx := range forwarded {
		tx.Source = netip.MustParseAddrPort("10.0.0.1:4000")
	}
	for _, c := range []struct {
		name string
		list []*reassembly.Transaction
	}{
		{"reads", reads(1 << 14)},
		{"reads behind a load balancer", forwarded},
		{"logins", logins},
	} {
		b.Run(c.name, func(b *testing.B) { observe(b, warm(b), c.list) })
	}
	b.Run("reads with a map", func(b *testing.B) {
		e := warm(b)
		e.cfg.Map = sitemap.New(0)
		observe(b, e, reads(1<<14))
	})
	for _, c := range []struct{ name, when string }{
		{"reads that no policy is about", `endpoint.role == "login" && entity.requests > 30`},
		{"reads that a policy counts", `endpoint.role == "" && entity.requests > 1000000`},
		{"reads that a policy counts with their differences", `transaction.url.path.startsWith("/v1/") && entity.requests > 1000000 && entity.accounts > 5`},
	} {
		b.Run(c.name, func(b *testing.B) {
			s, err := policy.New([]policy.Statement{{Name: "mine", When: c.when, Per: []string{"client.ip"}}})
			if err != nil {
				b.Fatal(err)
			}
			e := warm(b)
			e.SetPolicies(s)
			observe(b, e, reads(1<<14))
		})
	}
}

// full is an engine that remembers a million addresses, accounts and sessions.
func full(b *testing.B) *Engine {
	e, err := New(Config{}, nothing{})
	if err != nil {
		b.Fatal(err)
	}
	for i := range 1 << 20 {
		y := try{at: time.Duration(i) * 10 * time.Millisecond, client: fmt.Sprintf("81.%d.%d.%d", i>>16, i>>8&255, i&255), account: fmt.Sprint(i), password: "p", right: true}
		tx := y.transaction(i)
		tx.Fingerprint, tx.Request.UserAgent = fmt.Sprintf("%016x", i%500), fmt.Sprint("App/", i%2000)
		e.Observe(tx)
	}
	return e
}

func BenchmarkSnapshotOfAMillion(b *testing.B) {
	e := full(b)
	var octets bytes.Buffer
	if _, err := e.Snapshot(Origin{Key: "key"}).WriteTo(&octets); err != nil {
		b.Fatal(err)
	}
	b.Run("gather", func(b *testing.B) { // what detection waits for
		for b.Loop() {
			e.Snapshot(Origin{Key: "key"})
		}
	})
	b.Run("gather and write", func(b *testing.B) {
		b.SetBytes(int64(octets.Len()))
		for b.Loop() {
			e.Snapshot(Origin{Key: "key"}).WriteTo(io.Discard)
		}
		b.ReportMetric(float64(octets.Len())/1e6, "MB")
	})
	b.Run("resume", func(b *testing.B) {
		b.SetBytes(int64(octets.Len()))
		for b.Loop() {
			if _, _, err := Resume(Config{}, nothing{}, bytes.NewReader(octets.Bytes()), "key"); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// observe measures requests by engine, over and over.
func observe(b *testing.B, e *Engine, list []*reassembly.Transaction) {
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		tx := list[i&(len(list)-1)]
		i++
		tx.Start, tx.End = e.clock, e.clock+10e3
		e.Observe(tx)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tx/s")
}
