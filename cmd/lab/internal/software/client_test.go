package software

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/cmd/lab/internal/bank"
)

func TestSoftwareSendsItsFieldsInItsOrder(t *testing.T) {
	r := Request{Method: http.MethodPost, Path: "/x", ContentType: "text/plain", Body: "abc", Bearer: "t"}
	assert.Equal(t, "POST /x HTTP/1.1\r\nAuthorization: Bearer t\r\nAccept: application/json\r\nX-App-Version: 5.3.0\r\n"+
		"Content-Type: text/plain\r\nContent-Length: 3\r\nHost: h\r\nConnection: Keep-Alive\r\nAccept-Encoding: gzip\r\nUser-Agent: okhttp/4.12.0\r\n\r\nabc",
		string(Android.marshal(r, "h")))
	assert.Equal(t, "GET / HTTP/1.1\r\nHost: h\r\nUser-Agent: python-requests/2.31.0\r\nAccept-Encoding: gzip, deflate\r\nAccept: */*\r\nConnection: keep-alive\r\n\r\n",
		string(Requests.marshal(Request{Method: http.MethodGet, Path: "/"}, "h")))
}

func TestEverySoftwareLogsInAtTheBank(t *testing.T) {
	directory := bank.Directory{Customers: 100}
	server := httptest.NewServer(bank.New(directory))
	defer server.Close()
	c := directory.Customer(7)
	for _, s := range []Software{IPhone, Android, Chrome, Firefox, Quicken, Requests, Mimic, FormBot} {
		t.Run(s.Name, func(t *testing.T) {
			client := newClient(s, server.Listener.Addr().String(), nil)
			defer client.Close()
			outcome, session, err := client.Login(t.Context(), c.User, "wrong", "")
			require.NoError(t, err)
			assert.Equal(t, Rejected, outcome)
			assert.Zero(t, session)
			outcome, session, err = client.Login(t.Context(), c.User, c.Password, "")
			require.NoError(t, err)
			assert.Equal(t, Accepted, outcome)
			assert.Equal(t, s.Channel == bank.Mobile, session.Bearer != "")
			assert.Equal(t, s.Channel == bank.Web, session.Cookie != "")
		})
	}
}

func newClient(s Software, address string, dialled *atomic.Int64) *Client {
	return &Client{Software: s, Dial: func(ctx context.Context, _ string) (net.Conn, error) {
		if dialled != nil {
			dialled.Add(1)
		}
		return (&net.Dialer{}).DialContext(ctx, "tcp", address)
	}}
}

func TestARefusalIsToldFromAWrongPassword(t *testing.T) {
	for status, want := range map[int]Outcome{401: Rejected, 403: Refused, 429: Refused, 503: Broken, 200: Broken} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		client := newClient(Android, server.Listener.Addr().String(), nil)
		outcome, _, err := client.Login(t.Context(), "u", "p", "")
		assert.NoError(t, err)
		assert.Equal(t, want, outcome, status)
		client.Close()
		server.Close()
	}
}

func TestConnectionsAreKeptOrFreshAsTheSoftwareHasIt(t *testing.T) {
	for _, test := range []struct {
		name        string
		software    Software
		closesFirst bool
		want        int64
	}{
		{"a kept connection carries all requests", Android, false, 1},
		{"fresh software opens one for each", Mimic, false, 3},
		{"a kept connection that the server closed is replaced", Android, true, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if test.closesFirst {
					w.Header().Set("Connection", "close")
				}
			}))
			defer server.Close()
			var dialled atomic.Int64
			client := newClient(test.software, server.Listener.Addr().String(), &dialled)
			defer client.Close()
			for range 3 {
				_, err := client.Do(t.Context(), Request{Method: http.MethodGet, Path: "/"})
				require.NoError(t, err)
			}
			assert.Equal(t, test.want, dialled.Load())
		})
	}
}
