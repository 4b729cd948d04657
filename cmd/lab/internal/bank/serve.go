package bank

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Serve runs a bank on a TCP address and its books, as JSON, on a unix
// socket, until ctx is done.
func Serve(ctx context.Context, d Directory, listen, books string) error {
	b := New(d)
	shop, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("open the bank: %w", err)
	}
	office, err := net.Listen("unix", books)
	if err != nil {
		return fmt.Errorf("open the bank's books: %w", err)
	}
	servers := []*http.Server{
		{Handler: b, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute},
		{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, b.Counts()) }), ReadHeaderTimeout: 10 * time.Second},
	}
	ended := make(chan error, len(servers))
	for i, l := range []net.Listener{shop, office} {
		go func() { ended <- servers[i].Serve(l) }()
	}
	select {
	case err = <-ended:
	case <-ctx.Done():
	}
	for _, s := range servers {
		err = errors.Join(err, s.Close())
	}
	return err
}

// ReadBooks asks the bank behind a unix socket for its counts.
func ReadBooks(ctx context.Context, books string) (c Counts, err error) {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", books)
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://bank/", nil)
	if err != nil {
		return c, err
	}
	response, err := client.Do(request)
	if err != nil {
		return c, fmt.Errorf("read the bank's books: %w", err)
	}
	defer response.Body.Close()
	return c, json.NewDecoder(response.Body).Decode(&c)
}
