package targettest

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// DecisionToRefusal is the time from [controller.Controller.Apply] to the first refusal of
// a client that asks without pause on a kept connection, of 1,000 verdicts that come one
// after the other and stay.
func DecisionToRefusal(b *testing.B, start func(t testing.TB) *Balancer) {
	const n = 1000
	balancer := start(b)
	c, _ := enforcing(b, balancer)
	var took []time.Duration
	for b.Loop() {
		for range n {
			i := len(took)
			v := Block(uint32(i+1), fmt.Sprintf("127.8.%d.%d", i>>8, i&255))
			ask, end := asking(b, v.Subject.Client.Addr().String(), balancer.URL+"/")
			require.Equal(b, 200, ask())
			began := time.Now()
			require.NoError(b, c.Apply(v))
			for ask() != 403 {
			}
			took = append(took, time.Since(began))
			end()
		}
	}
	slices.Sort(took)
	milliseconds := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(milliseconds(took[len(took)/2]), "p50-ms")
	b.ReportMetric(milliseconds(took[len(took)*99/100]), "p99-ms")
}

// asking is a client with a kept connection; ask returns the status.
func asking(b *testing.B, from, url string) (ask func() int, end func()) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	client := &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext}}
	return func() int {
		response, err := client.Get(url)
		require.NoError(b, err)
		_, err = io.Copy(io.Discard, response.Body)
		require.NoError(b, err)
		response.Body.Close()
		return response.StatusCode
	}, client.CloseIdleConnections
}
