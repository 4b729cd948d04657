package crowd

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/cmd/lab/internal/bank"
)

// gather lets a hasty crowd visit a handler until there were enough sessions.
func gather(t *testing.T, d bank.Directory, h http.Handler, sessions int64) *Crowd {
	server := httptest.NewServer(h)
	defer server.Close()
	c, err := New(Config{Directory: d, Except: -1, Rate: 2000, Haste: 1000, Dial: func(ctx context.Context, _ netip.Addr, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", server.Listener.Addr().String())
	}})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Run(ctx)
	}()
	require.Eventually(t, func() bool { return c.Counts().Sessions >= sessions }, 20*time.Second, time.Millisecond)
	cancel()
	<-done
	return c
}

func TestTheCrowdsBooksAgreeWithTheBanks(t *testing.T) {
	directory := bank.Directory{Customers: 600}
	b := bank.New(directory)
	crowd := gather(t, directory, b, 500)
	people, books := crowd.Counts(), b.Counts()
	assert.NoError(t, crowd.FirstBroken())
	assert.Equal(t, books.Requests, people.Requests)
	assert.Equal(t, books.Logins(bank.Mobile, bank.Web, bank.OFX), people.Logins)
	rejected := int64(0)
	for channel := range bank.Channels {
		assert.Positive(t, books.Accepted[channel], channel.Name())
		rejected += books.Rejected[channel]
	}
	assert.Equal(t, rejected, people.Mistyped)
	assert.Zero(t, people.Refused)
	assert.Zero(t, people.Broken)
}

func TestARefusedCustomerIsNotTakenForABrokenOne(t *testing.T) {
	for _, test := range []struct {
		name            string
		status          int
		refused, broken bool
	}{{"403 is a refusal", 403, true, false}, {"503 is broken", 503, false, true}} {
		t.Run(test.name, func(t *testing.T) {
			crowd := gather(t, bank.Directory{Customers: 600},
				http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(test.status) }), 50)
			assert.Equal(t, test.refused, crowd.Counts().Refused > 0)
			assert.Equal(t, test.broken, crowd.Counts().Broken > 0)
			assert.Equal(t, test.broken, crowd.FirstBroken() != nil)
		})
	}
}

func TestAWrongCrowdIsQuoted(t *testing.T) {
	_, err := New(Config{Directory: bank.Directory{Customers: 7}, Rate: 1})
	assert.ErrorContains(t, err, "7 customers")
}
