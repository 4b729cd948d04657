package engine

import (
	"fmt"
	"net/netip"
	"runtime"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly"
)

// heapAfter is how much of the heap an engine holds, octets, after n clients
// have come one after another, each with an address, an account, a program and a
// session of its own: every third fails to log in, the others use what they got.
func heapAfter(t *testing.T, e *Engine, n int) float64 {
	t.Helper()
	programs := make([][2]string, 5000)
	for i := range programs {
		programs[i] = [2]string{fmt.Sprintf("f%x", i), fmt.Sprint("App/", i)}
	}
	hex := func(n int) string { return strconv.FormatUint(uint64(n)|1<<63, 16) }
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range n {
		client := netip.AddrFrom4([4]byte{byte(11 + i>>24), byte(i >> 16), byte(i >> 8), byte(i)})
		account, session, program := hex(i), hex(i+1<<40), &programs[i%len(programs)]
		tx := reassembly.Transaction{
			ID: session, Start: int64(i) * 1e6, Client: client, Source: netip.AddrPortFrom(client, 40000),
			Fingerprint: program[0], JA4: "t13d1516h2_8daaf6152771_e5627efa2ab1",
			Auth: reassembly.Auth{Carrier: "json", UserField: "user", PasswordField: "password", PasswordFields: 1, UserHash: account, PasswordHash: account},
		}
		tx.End = tx.Start + 5e5
		tx.Request.Method, tx.Request.Domain, tx.Request.Path, tx.Request.UserAgent = "POST", "api.bank.example", "/v1/login", program[1]
		tx.Response.Status, tx.Response.Signature = 200, reassembly.Signature{Media: "json", Keys: "00000000000000aa", Length: 7}
		tx.Auth.SessionIssued, tx.Auth.TokenIssued = []string{session}, true
		if i%3 == 0 {
			tx.Response.Status, tx.Response.Signature.Keys = 401, "00000000000000bb"
			tx.Auth.SessionIssued, tx.Auth.TokenIssued = nil, false
		}
		e.Observe(&tx)
		if i%3 == 0 {
			continue
		}
		use := reassembly.Transaction{
			ID: account, Start: tx.End + 1e5, End: tx.End + 2e5, Client: client, Source: tx.Source, Fingerprint: tx.Fingerprint,
			Auth: reassembly.Auth{Carrier: "bearer", SessionPresented: []string{session}},
		}
		use.Request.Method, use.Request.Domain, use.Request.Path = "GET", "api.bank.example", "/v1/accounts/"+strconv.Itoa(i)+"/transactions"
		use.Response.Status = 200
		e.Observe(&use)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(e)
	return float64(after.HeapAlloc) - float64(before.HeapAlloc)
}

// The bound is of the default configuration: 2^20 clients, the accounts and sessions
// with them.
func TestMemoryIsBoundedWithTenMillionAddresses(t *testing.T) {
	if raceDetector {
		t.Skip("minutes of one goroutine: make test runs it without the race detector")
	}
	const clients = 10_000_000
	e, err := New(Config{}, nothing{})
	require.NoError(t, err)
	held := heapAfter(t, e, clients) / 1e6
	t.Logf("%d addresses, accounts and sessions: %.0f MB", clients, held)
	assert.Less(t, held, 350.0)
	s := e.Stats()
	assert.Equal(t, uint64(clients), s.Logins["accepted"]+s.Logins["rejected"], "each was understood")
	assert.Equal(t, uint64(clients-s.Entities), s.EntityEvictions, "what is forgotten is counted")
}
