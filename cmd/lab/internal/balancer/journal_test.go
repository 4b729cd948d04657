package balancer

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestJournalSortsRequestsByWhoMadeThem(t *testing.T) {
	probe := netip.MustParseAddr("198.18.0.6")
	j := &Journal{entry: haproxy{}.entry, refusals: map[netip.Addr]int64{}}
	for _, line := range []string{
		"1000 198.19.4.20 401", "900 203.0.113.66 200", "1500 198.19.4.20 403", "1400 2001:db8:a000:5::1 403",
		"1000 198.18.0.9 200", "1100 ::ffff:198.18.0.6 403", "1200 198.51.100.11 429",
		"- 198.18.0.1 400", "",
	} {
		j.enter(line)
	}
	assert.Len(t, j.Attack(), 4)
	request, refusal := j.First()
	assert.Equal(t, time.UnixMilli(900), request)
	assert.Equal(t, time.UnixMilli(1400), refusal)
	assert.Equal(t, Counts{Requests: 3, Refused: 1}, j.Customers(probe))
	assert.Equal(t, 2, j.Malformed())
}
