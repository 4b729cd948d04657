// Package api serves the admin interface of a running offpath over HTTP: the
// endpoints of /api/v1 (described by the embedded OpenAPI document), metrics,
// and health.
//
// It is served on a unix socket with mode 0600, where whoever may open it may
// do everything, and on a TCP address, where changes need the bearer token
// and, once a token is set, reading needs it too. What is shown comes from a
// [Node]; the package decides nothing and keeps nothing but the latest
// findings ([History]).
//
// Every connection has its own goroutine; their number, the time that a
// request may take and the size of what it sends are bounded.
package api

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/netutil"
)

// Bounds of what clients may do.
const (
	maxConnections = 64
	maxBody        = 64 << 10 // octets
	maxHead        = 16 << 10 // octets
	requestTimeout = 10 * time.Second
	answerTimeout  = 30 * time.Second
	idleTimeout    = time.Minute
)

//go:embed openapi.yaml
var openAPI []byte

// Config configures a Server.
type Config struct {
	Node    Node         // what is shown and steered
	Metrics http.Handler // answers /metrics

	Socket string      // path of the unix socket; "" for none
	Listen string      // TCP address; "" for none
	Token  []byte      // bearer token of the TCP address; nil for none
	TLS    *tls.Config // of the TCP address; nil for plain HTTP
	Errors *log.Logger // receives the complaints of the HTTP server; nil: they are dropped
}

// Server is a running admin interface.
type Server struct {
	servers []*http.Server
	address net.Addr
	failed  chan error
	serving sync.WaitGroup
}

// Start binds what cfg names and serves until Close.
func Start(cfg Config) (*Server, error) {
	s := &Server{failed: make(chan error, 2)}
	if cfg.Socket != "" {
		l, err := listenUnix(cfg.Socket)
		if err != nil {
			return nil, err
		}
		s.serve(l, cfg, Handler(cfg.Node, cfg.Metrics))
	}
	if cfg.Listen != "" {
		l, err := net.Listen("tcp", cfg.Listen)
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("listen on admin address: %w", err)
		}
		s.address = l.Addr()
		if cfg.TLS != nil {
			l = tls.NewListener(l, cfg.TLS)
		}
		s.serve(l, cfg, guard(cfg.Token, cfg.TLS == nil, Handler(cfg.Node, cfg.Metrics)))
	}
	return s, nil
}

func (s *Server) serve(l net.Listener, cfg Config, h http.Handler) {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: requestTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      answerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHead,
		ErrorLog:          cfg.Errors,
	}
	s.servers = append(s.servers, server)
	s.serving.Go(func() {
		if err := server.Serve(netutil.LimitListener(l, maxConnections)); !errors.Is(err, http.ErrServerClosed) {
			s.failed <- fmt.Errorf("serve admin interface: %w", err)
		}
	})
}

// Address is that of the TCP listener, nil without one.
func (s *Server) Address() net.Addr { return s.address }

// Failed delivers the error of a listener that stopped by itself.
func (s *Server) Failed() <-chan error { return s.failed }

// Close finishes the requests under way, for up to a second, and stops.
func (s *Server) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, server := range s.servers {
		if server.Shutdown(ctx) != nil {
			server.Close()
		}
	}
	s.serving.Wait()
}

// guard is what a request over TCP has to pass: the token, where one is set;
// else it must only read, and (as a web page that a browser on this host shows
// could have the browser ask) name the loopback address itself as host.
func guard(token []byte, plain bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/healthz":
		case token != nil:
			given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
			if !ok || subtle.ConstantTimeCompare([]byte(given), token) != 1 {
				w.Header().Set("WWW-Authenticate", `Bearer realm="offpath"`)
				fail(w, http.StatusUnauthorized, "a bearer token is needed; it is the one at admin.token")
				return
			}
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			fail(w, http.StatusForbidden, "changes go over the admin socket, or need admin.token to be set")
			return
		case plain && !ownName(r.Host):
			fail(w, http.StatusMisdirectedRequest, "ask for the address itself, not for a name of it")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// ownName reports whether a Host field holds an address or localhost: a name
// could have been made to point here by somebody else.
func ownName(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if host == "localhost" {
		return true
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}

// Handler answers the requests of one who may do everything.
func Handler(node Node, metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	a := endpoints{node}
	mux.Handle("GET /metrics", metrics)
	mux.HandleFunc("GET /healthz", a.health)
	mux.HandleFunc("GET /readyz", a.ready)
	mux.HandleFunc("GET /api/v1/openapi.yaml", a.openAPI)
	mux.HandleFunc("GET /api/v1/findings", a.findings)
	mux.HandleFunc("GET /api/v1/explain/{id}", a.explain)
	mux.HandleFunc("GET /api/v1/sitemap", a.siteMap)
	mux.HandleFunc("GET /api/v1/sitemap/comparison", a.comparison)
	mux.HandleFunc("GET /api/v1/verdicts", a.verdicts)
	mux.HandleFunc("POST /api/v1/verdicts", a.decide)
	mux.HandleFunc("POST /api/v1/verdicts/{id}/lift", a.lift)
	mux.HandleFunc("GET /api/v1/approvals", a.approvals)
	mux.HandleFunc("POST /api/v1/approvals/{id}/approve", a.approve)
	mux.HandleFunc("GET /api/v1/targets", a.targets)
	mux.HandleFunc("GET /api/v1/audit", a.audit)
	mux.HandleFunc("POST /api/v1/off", a.off)
	mux.HandleFunc("POST /api/v1/on", a.on)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern == "" {
			mux.ServeHTTP(&problems{ResponseWriter: w}, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// problems turns the plain answers of a ServeMux that finds no endpoint into
// problem documents, keeping its status and header fields.
type problems struct {
	http.ResponseWriter
	done bool
}

func (p *problems) WriteHeader(status int) {
	if !p.done {
		p.done = true
		fail(p.ResponseWriter, status, "see /api/v1/openapi.yaml for what there is")
	}
}

func (p *problems) Write(b []byte) (int, error) {
	p.WriteHeader(http.StatusOK)
	return len(b), nil
}

// decode reads the JSON body of a request strictly.
func decode(w http.ResponseWriter, r *http.Request, into any) error {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("the body is not the JSON object expected: %w", err)
	}
	if d.More() {
		return errors.New("the body holds more than one JSON object")
	}
	return nil
}
