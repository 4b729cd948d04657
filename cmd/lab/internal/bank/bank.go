// Package bank is the laboratory's bank: an API for mobile apps (JSON), a web
// site (forms and redirects) and an OFX server, as they stand behind a load
// balancer. It says of a login what banks say: the app gets 401, the browser a
// redirect back to the form, OFX a status code inside a body of status 200.
//
// A [Bank] is an http.Handler, safe for concurrent use. It keeps no state but
// counters: sessions are signed tokens and money does not move.
package bank

import (
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"sync/atomic"
	"time"
)

// Channel is a way to log in.
type Channel int

// The channels.
const (
	Mobile Channel = iota
	Web
	OFX
	Channels // their number
)

// Name is the channel's name in reports.
func (c Channel) Name() string { return [...]string{"mobile", "web", "ofx"}[c] }

// Counts are a bank's books. All only grow.
type Counts struct {
	Requests int64 // health checks aside
	Accepted [Channels]int64
	Rejected [Channels]int64
}

// Logins is the number of login requests of the channels that were answered.
func (c Counts) Logins(channels ...Channel) (n int64) {
	for _, channel := range channels {
		n += c.Accepted[channel] + c.Rejected[channel]
	}
	return n
}

// Bank answers requests.
type Bank struct {
	directory Directory
	sessions  *sessions
	mux       *http.ServeMux

	requests           atomic.Int64
	accepted, rejected [Channels]atomic.Int64
}

// New opens a bank.
func New(d Directory) *Bank {
	b := &Bank{directory: d, sessions: newSessions(), mux: http.NewServeMux()}
	b.mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	b.mux.HandleFunc("GET /api/v2/mobile/config", b.config)
	b.mux.HandleFunc("POST /api/v2/mobile/login", b.mobileLogin)
	b.mux.HandleFunc("GET /api/v2/accounts", b.accounts)
	b.mux.HandleFunc("GET /api/v2/accounts/{id}/balance", b.balance)
	b.mux.HandleFunc("POST /api/v2/transfers", b.transfer)
	b.mux.HandleFunc("GET /{$}", b.home)
	b.mux.HandleFunc("GET /login", b.loginForm)
	b.mux.HandleFunc("POST /login", b.webLogin)
	b.mux.HandleFunc("GET /account", b.accountPage)
	b.mux.HandleFunc("POST /transfer", b.webTransfer)
	b.mux.HandleFunc("POST /ofx", b.ofx)
	return b
}

// ServeHTTP implements http.Handler.
func (b *Bank) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/health" {
		b.requests.Add(1)
	}
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	b.mux.ServeHTTP(w, r)
}

// Counts returns the books.
func (b *Bank) Counts() Counts {
	c := Counts{Requests: b.requests.Load()}
	for channel := range Channels {
		c.Accepted[channel] = b.accepted[channel].Load()
		c.Rejected[channel] = b.rejected[channel].Load()
	}
	return c
}

// check judges a login, in the time that hashing a password takes.
func (b *Bank) check(channel Channel, user, password string) (Customer, bool) {
	time.Sleep(4 * time.Millisecond)
	c, ok := b.directory.Check(user, password)
	if ok {
		b.accepted[channel].Add(1)
	} else {
		b.rejected[channel].Add(1)
	}
	return c, ok
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client went away: nothing to do
}

type apiError struct {
	Error struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	var e apiError
	e.Error.Code, e.Error.Message = code, message
	reply(w, status, e)
}

func page(w http.ResponseWriter, title, body string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, "<!doctype html>\n<html lang=\"en\"><head><title>%s</title></head>\n<body>%s</body></html>\n", html.EscapeString(title), body)
}
