package crowdsec

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"offpath/mitigate"
	"offpath/mitigate/internal/pull"
)

// Kind is the type of this target in the configuration.
const Kind = "crowdsec"

// DefaultAddress is where a Local API listens.
const DefaultAddress = "tcp:127.0.0.1:8080"

// Options of a target. Address and Keys are needed.
type Options struct {
	Name    string // of the target; default: the address
	Address string // to listen on: unix:PATH or tcp:HOST:PORT, of a HOST beyond loopback with TLS
	// Keys are what bouncers may come with, one a line. They are read again now and then.
	Keys func() ([]byte, error)
	// Certificate is a PEM file of what the server shows, Key gives its key; empty: no TLS.
	Certificate string
	Key         func() ([]byte, error)
	// Journal is a file that remembers what was published, so that it can be taken back
	// after a restart; empty: none.
	Journal  string
	Capacity int // most entries; default [pull.DefaultCapacity]
}

// Target is a server for bouncers.
type Target struct{ *pull.Board }

var (
	_ mitigate.Target    = (*Target)(nil)
	_ mitigate.Runner    = (*Target)(nil)
	_ mitigate.Publisher = (*Target)(nil)
)

// CheckAddress says what is wrong with an address to listen on; "" if nothing is.
func CheckAddress(address string) string { return pull.CheckAddress(address) }

// Local says whether only programs of this machine reach an address.
func Local(address string) bool { return pull.Local(address) }

// New makes a target; it listens in Run.
func New(o Options) (*Target, error) {
	b, err := pull.NewBoard(pull.Options{
		Name: o.Name, Kind: Kind, Address: o.Address, Certificate: o.Certificate, Key: o.Key, Keys: pull.Lines(o.Keys), Journal: o.Journal, Capacity: o.Capacity,
	})
	if err != nil {
		return nil, err
	}
	return &Target{b}, nil
}

// Run implements [mitigate.Runner]: it answers bouncers until the context ends.
func (t *Target) Run(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/decisions/stream", t.stream)
	mux.HandleFunc("GET /v1/decisions", t.decisions)
	mux.HandleFunc("POST /v1/usage-metrics", t.usage)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { say(w, r, http.StatusNotFound, "no such path here") })
	return t.Serve(ctx, mux,
		func(r *http.Request) string { return r.Header.Get("X-Api-Key") },
		func(w http.ResponseWriter, r *http.Request) { say(w, r, http.StatusForbidden, "access forbidden") })
}

// say answers as the Local API does where there is nothing but a sentence.
func say(w http.ResponseWriter, r *http.Request, status int, message string) {
	answer(w, r, status, struct {
		Message string `json:"message"`
	}{message})
}

// answer writes JSON, and says whether all of it was sent.
func answer(w http.ResponseWriter, r *http.Request, status int, value any) bool {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		panic(err) // of our own structs alone
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	return pull.Write(w, r, status, bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

// notReady has bouncers keep what they have.
func notReady(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Retry-After", "1")
	say(w, r, http.StatusServiceUnavailable, "verdicts are not known yet")
}

// list are the words of a query's parameter, separated by commas.
func list(text string) (words []string) {
	for _, w := range strings.Split(text, ",") {
		if w = strings.TrimSpace(w); w != "" {
			words = append(words, w)
		}
	}
	return words
}
