package feed

import (
	"context"
	"net/http"
	"strings"

	"offpath/mitigate"
	"offpath/mitigate/internal/pull"
)

// Kind is the type of this target in the configuration.
const Kind = "feed"

// DefaultAddress is where the lists are served.
const DefaultAddress = "tcp:127.0.0.1:9322"

// Options of a target. Address and Keys are needed.
type Options struct {
	Name    string // of the target; default: the address
	Address string // to listen on: unix:PATH or tcp:HOST:PORT, of a HOST beyond loopback with TLS
	// Keys are what consumers may come with, one a line. They are read again now and then.
	Keys func() ([]byte, error)
	// Certificate is a PEM file of what the server shows, Key gives its key; empty: no TLS.
	Certificate string
	Key         func() ([]byte, error)
	Capacity    int // most entries; default [pull.DefaultCapacity]
}

// Target is a server of lists.
type Target struct{ *pull.Board }

var (
	_ mitigate.Target    = (*Target)(nil)
	_ mitigate.Runner    = (*Target)(nil)
	_ mitigate.Publisher = (*Target)(nil)
)

// New makes a target; it listens in Run.
func New(o Options) (*Target, error) {
	b, err := pull.NewBoard(pull.Options{
		Name: o.Name, Kind: Kind, Address: o.Address, Certificate: o.Certificate, Key: o.Key, Keys: pull.Lines(o.Keys), Capacity: o.Capacity,
	})
	if err != nil {
		return nil, err
	}
	return &Target{b}, nil
}

// Run implements [mitigate.Runner]: it answers until the context ends.
func (t *Target) Run(ctx context.Context) error {
	mux := http.NewServeMux()
	for path, form := range forms {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) { t.answer(w, r, path, form) })
	}
	return t.Serve(ctx, mux, key, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Basic realm="offpath"`)
		http.Error(w, "this needs the key", http.StatusUnauthorized)
	})
}

// key is what a request comes with.
func key(r *http.Request) string {
	if _, password, ok := r.BasicAuth(); ok {
		return password
	}
	if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token)
	}
	return r.Header.Get("X-Api-Key")
}
