package legs

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly"
)

const ms = int64(time.Millisecond)

var (
	customer = netip.MustParseAddr("203.0.113.7")
	balancer = netip.MustParseAddr("10.0.0.1")
)

// front is the leg between client and load balancer, back the one behind it.
func front(start, end int64, change ...func(*reassembly.Transaction)) *reassembly.Transaction {
	return leg("front", customer, start, end, change)
}

func back(start, end int64, change ...func(*reassembly.Transaction)) *reassembly.Transaction {
	return leg("back", balancer, start, end, change)
}

func leg(connection string, source netip.Addr, start, end int64, change []func(*reassembly.Transaction)) *reassembly.Transaction {
	tx := &reassembly.Transaction{
		Start: 1e18 + start*ms, End: 1e18 + end*ms, CommunityID: connection,
		Source: netip.AddrPortFrom(source, 40000), Client: customer,
	}
	tx.Request.Method, tx.Request.Path, tx.Response.Status = "POST", "/login", 401
	tx.Auth.UserHash, tx.Auth.PasswordHash = "u", "p"
	for _, c := range change {
		c(tx)
	}
	return tx
}

// seen runs transactions through a Matcher and says which were second legs.
func seen(list ...*reassembly.Transaction) string {
	m := New()
	var out []byte
	for _, tx := range list {
		if _, second := m.Second(tx); second {
			out = append(out, '2')
			continue
		}
		m.First(tx)
		out = append(out, '1')
	}
	return string(out)
}

func TestLegsAreCountedOnce(t *testing.T) {
	status := func(s int) func(*reassembly.Transaction) {
		return func(tx *reassembly.Transaction) { tx.Response.Status = s }
	}
	refused := func(tx *reassembly.Transaction) { tx.RefusedBy = "id" }
	password := func(p string) func(*reassembly.Transaction) {
		return func(tx *reassembly.Transaction) { tx.Auth.PasswordHash = p }
	}
	connection := func(c string) func(*reassembly.Transaction) {
		return func(tx *reassembly.Transaction) { tx.CommunityID = c }
	}
	for _, c := range []struct {
		name string
		list []*reassembly.Transaction
		want string
	}{
		{"behind, then in front", []*reassembly.Transaction{back(2, 8), front(0, 10)}, "12"},
		{"in front first, once forwarding is known", []*reassembly.Transaction{back(-90, -80, password("q")), front(0, 7), back(2, 8)}, "112"},
		{"a third sight is a request of its own", []*reassembly.Transaction{back(2, 8), front(0, 10), front(0, 10)}, "121"},
		{"two requests, two legs each", []*reassembly.Transaction{back(2, 8), back(3, 8, connection("b2")), front(0, 10), front(1, 11, connection("f2"))}, "1122"},
		{"other passwords are other requests", []*reassembly.Transaction{back(2, 8), front(0, 10, password("q"))}, "11"},
		{"other statuses are other requests", []*reassembly.Transaction{back(2, 8), front(0, 10, status(403))}, "11"},
		{"the same request later is another", []*reassembly.Transaction{back(2, 8), front(200, 210)}, "11"},
		{"two clients' sides have no load balancer between them", []*reassembly.Transaction{front(0, 10), front(1, 9, connection("f2"))}, "11"},
		{"two forwarded by the same balancer are two", []*reassembly.Transaction{back(2, 8), back(2, 8, connection("b2"))}, "11"},
		{"what was refused has no leg behind", []*reassembly.Transaction{back(2, 8, status(403)), front(0, 10, status(403), refused)}, "11"},
		{"no answer, no match", []*reassembly.Transaction{back(2, 8, status(0)), front(0, 10, status(0))}, "11"},
	} {
		t.Run(c.name, func(t *testing.T) {
			assert.Equal(t, c.want, seen(c.list...))
		})
	}
}

func TestTheSecondLegGetsTheFirstOnesAnnotation(t *testing.T) {
	m := New()
	tx := back(2, 8)
	tx.Annotation.Role = "login"
	m.First(tx)
	a, ok := m.Second(front(0, 10))
	assert.True(t, ok)
	assert.Equal(t, "login", a.Role)
}

func TestMemoryIsBounded(t *testing.T) {
	m := New()
	for i := range 3 * Capacity {
		tx := back(int64(i), int64(i)+1)
		tx.Request.Path = fmt.Sprint("/", i%(2*Capacity))
		_, second := m.Second(tx)
		assert.False(t, second)
		m.First(tx)
	}
	assert.Len(t, m.ring, Capacity)
	assert.Len(t, m.links, Capacity)
}

func TestChainsSharedByChanceChangeNothing(t *testing.T) {
	one, other := New(), New()
	found := 0
	for i := range int64(6 * Capacity) {
		tx := back(i*1e3, i*1e3+1)
		if i%3 == 0 {
			tx = front(i*1e3-2e3, i*1e3+2)
		}
		tx.Request.Path = fmt.Sprint("/", i/2*2654435761%(3*Capacity))
		_, second := one.Second(tx)
		_, again := other.Second(tx)
		require.Equal(t, second, again, "request %d", i)
		if second {
			found++
			continue
		}
		one.First(tx)
		other.First(tx)
	}
	assert.Positive(t, found)
}

func TestMatchingAllocatesNothing(t *testing.T) {
	m := New()
	for i := range 2 * Capacity {
		m.First(back(int64(i), int64(i)+1))
	}
	b, f := back(1, 2), front(0, 3)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		m.First(b)
		m.Second(f)
	}))
}
