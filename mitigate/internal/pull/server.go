package pull

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/netutil"
)

const (
	requestTimeout = 10 * time.Second
	answerTimeout  = 2 * time.Minute // for a list of 100,000 over a slow line
	idleTimeout    = 5 * time.Minute // longer than most intervals
	maxHead        = 16 << 10
	maxConnections = 2048
	keysFor        = 5 * time.Second // how long keys that were read are good for
	bindWait       = time.Second     // how long Identity waits for a server that begins
	lookTimeout    = 5 * time.Second
	maxLook        = 4 << 10 // of an answer about the state, octets
	maxAnswers     = 64      // under way at once, each with a list in memory; others wait
)

// StatePath answers what state a board is in, to who has a key.
const StatePath = "/offpath"

// server listens as long as it is run.
type server struct {
	options *Options

	mu      sync.Mutex
	bound   chan struct{} // closed while it listens
	problem error         // why it does not
	keys    [][sha256.Size]byte
	keysAt  time.Time
	keysErr error
}

func newServer(o *Options) *server { return &server{options: o, bound: make(chan struct{})} }

// listening waits a moment for the server to listen.
func (s *server) listening(ctx context.Context) error {
	s.mu.Lock()
	bound := s.bound
	s.mu.Unlock()
	wait := time.NewTimer(bindWait)
	defer wait.Stop()
	select {
	case <-bound:
		return nil
	case <-ctx.Done():
	case <-wait.C:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return cmp.Or(s.problem, fmt.Errorf("nothing listens on %s yet", s.options.Address))
}

// Serve answers by a handler until the context ends. Whoever asks has one of the keys,
// which present takes from a request; others are answered by denied.
func (b *Board) Serve(ctx context.Context, h http.Handler, present func(*http.Request) string, denied http.HandlerFunc) error {
	s := b.server
	l, err := s.listen()
	s.mu.Lock()
	s.problem = err
	if err == nil {
		close(s.bound)
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+StatePath, b.answerState)
	mux.Handle("/", h)
	slots := make(chan struct{}, maxAnswers)
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			key := present(r)
			switch ok, err := s.admits(key); {
			case err != nil:
				http.Error(w, "the key can't be read here", http.StatusServiceUnavailable)
			case !ok:
				b.denied.Add(1)
				denied(w, r)
			default:
				select {
				case slots <- struct{}{}:
					defer func() { <-slots }()
					sum := sha256.Sum256([]byte(key))
					a := Asks{Program: r.UserAgent(), Source: source(r), holder: hex.EncodeToString(sum[:4])}
					if r.ProtoMajor == 1 { // later ones ask for several things at once
						a.via, _ = r.Context().Value(connectionKey{}).(*connection)
					}
					mux.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), asksKey{}, a)))
				case <-r.Context().Done():
				}
			}
		}),
		ReadHeaderTimeout: requestTimeout, ReadTimeout: requestTimeout, WriteTimeout: answerTimeout, IdleTimeout: idleTimeout,
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
			return context.WithValue(ctx, connectionKey{}, new(connection))
		},
		MaxHeaderBytes: maxHead, ErrorLog: log.New(io.Discard, "", 0),
	}
	stopped := context.AfterFunc(ctx, func() { server.Close() })
	err = server.Serve(netutil.LimitListener(l, maxConnections))
	stopped()
	server.Close()
	s.mu.Lock()
	s.bound = make(chan struct{})
	s.problem = err
	s.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("serve on %s: %w", s.options.Address, err)
}

func (s *server) listen() (net.Listener, error) {
	kind, rest, _ := strings.Cut(s.options.Address, ":")
	if kind == "unix" {
		if err := removeStale(rest); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen(kind, rest)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", s.options.Address, err)
	}
	if s.options.Certificate == "" {
		return l, nil
	}
	pair, err := s.certificate()
	if err != nil {
		l.Close()
		return nil, err
	}
	return tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}), nil
}

func (s *server) certificate() (tls.Certificate, error) {
	var pair tls.Certificate
	chain, err := os.ReadFile(s.options.Certificate)
	if err != nil {
		return pair, fmt.Errorf("load certificate: %w", err)
	}
	key, err := s.options.Key()
	if err != nil {
		return pair, fmt.Errorf("load key of the certificate: %w", err)
	}
	if pair, err = tls.X509KeyPair(chain, key); err != nil {
		return pair, fmt.Errorf("load certificate: %w", err)
	}
	return pair, nil
}

// removeStale removes a socket on which nobody listens.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look at socket: %w", err)
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s: something else than a socket stands there", path)
	}
	if c, err := net.DialTimeout("unix", path, bindWait); err == nil {
		c.Close()
		return fmt.Errorf("%s: another program listens there", path)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove stale socket: %w", err)
	}
	return nil
}

// admits says whether a key is one of ours. All are compared, by their hashes.
func (s *server) admits(key string) (bool, error) {
	s.mu.Lock()
	if time.Since(s.keysAt) > keysFor {
		keys, err := s.options.Keys()
		s.keys, s.keysErr, s.keysAt = nil, err, time.Now()
		for _, k := range keys {
			if len(k) > 0 {
				s.keys = append(s.keys, sha256.Sum256(k))
			}
		}
	}
	keys, err := s.keys, s.keysErr
	s.mu.Unlock()
	sum, found := sha256.Sum256([]byte(key)), 0
	for i := range keys {
		found |= subtle.ConstantTimeCompare(sum[:], keys[i][:])
	}
	return found == 1, err
}

// state is what a board says of itself.
type state struct {
	Life      string `json:"life"`
	Name      string `json:"name"`
	Ready     bool   `json:"ready"`
	Listed    int    `json:"listed"`
	Consumers int    `json:"consumers"`
	Current   int    `json:"current"` // of them, those that are not late
}

func (b *Board) answerState(w http.ResponseWriter, _ *http.Request) {
	f := b.Fetching()
	b.mu.Lock()
	s := state{Life: b.life, Name: b.options.Name, Ready: b.ready(), Listed: len(b.list.active.all), Consumers: len(f.Consumers), Current: f.Current()}
	b.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(s)
}

// Look asks the server that an offpath has on the address, and says how it is; nobody
// fetching is an error. If none listens, it says whether one could.
func (b *Board) Look(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	keys, err := b.options.Keys()
	if err != nil {
		return "", err
	}
	if len(keys) == 0 {
		return "", errors.New("there is no key")
	}
	scheme, secure := "http", &tls.Config{MinVersion: tls.VersionTLS12}
	if b.options.Certificate != "" {
		pair, err := b.server.certificate()
		if err != nil {
			return "", err
		}
		// The name in it may be anybody's way to here; it has to be this certificate.
		scheme, secure.InsecureSkipVerify = "https", true
		secure.VerifyConnection = func(c tls.ConnectionState) error {
			if len(c.PeerCertificates) == 0 || !bytes.Equal(c.PeerCertificates[0].Raw, pair.Certificate[0]) {
				return errors.New("what listens there has another certificate than is configured")
			}
			return nil
		}
	}
	kind, rest, _ := strings.Cut(b.options.Address, ":")
	transport := &http.Transport{
		TLSClientConfig: secure, DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, kind, rest)
		},
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://offpath"+StatePath, nil)
	if err != nil {
		return "", err
	}
	request.Header.Set("X-Api-Key", string(keys[0]))
	answer, err := transport.RoundTrip(request)
	if opErr := (*net.OpError)(nil); errors.As(err, &opErr) && opErr.Op == "dial" {
		l, err := b.server.listen()
		if err != nil {
			return "", err
		}
		l.Close()
		return b.options.Kind + ", nobody can fetch before offpath runs", nil
	}
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	var s state
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxLook)).Decode(&s); answer.StatusCode != http.StatusOK || err != nil || s.Name != b.options.Name {
		return "", fmt.Errorf("what listens on %s is not this target, or has another key", b.options.Address)
	}
	text := fmt.Sprintf("%s, %d listed, %d consumers", b.options.Kind, s.Listed, s.Consumers)
	switch {
	case !s.Ready:
		return text + ", not ready yet", nil
	case s.Consumers == 0:
		return "", errors.New("it listens, and nobody fetches from it")
	case s.Current == 0:
		return "", fmt.Errorf("none of the %d consumers has fetched lately", s.Consumers)
	case s.Current < s.Consumers:
		text += fmt.Sprintf(", %d of them late", s.Consumers-s.Current)
	}
	return text, nil
}

// connectionKey is where the context of a request has its connection.
type connectionKey struct{}

// asksKey is where the context of a request has who asks.
type asksKey struct{}

// Asking says who asks.
func Asking(r *http.Request) Asks {
	a, _ := r.Context().Value(asksKey{}).(Asks)
	return a
}

// source is the address that a request comes from; "" at a unix socket.
func source(r *http.Request) string {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	return a.Addr().Unmap().WithZone("").String()
}

// Write answers with a body, compressed if it is long and the client takes that, always
// with its length. It says whether all of it was sent.
func Write(w http.ResponseWriter, r *http.Request, status int, body []byte) bool {
	h := w.Header()
	if body = Compress(h, r, body); r.Method == http.MethodHead {
		body = nil
	} else {
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(status)
	_, err := w.Write(body)
	if err == nil {
		err = http.NewResponseController(w).Flush()
	}
	return err == nil && r.Context().Err() == nil
}

// shortest is the length from which on compressing is worth it, octets.
const shortest = 1024

// Compress compresses a body if it is long and the client takes that, and says so in the
// header of the answer.
func Compress(h http.Header, r *http.Request, body []byte) []byte {
	h.Add("Vary", "Accept-Encoding")
	if len(body) < shortest || !takesGzip(r.Header.Get("Accept-Encoding")) {
		return body
	}
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	z.Write(body) // into memory, which does not fail
	z.Close()
	h.Set("Content-Encoding", "gzip")
	return b.Bytes()
}

// takesGzip reads an Accept-Encoding.
func takesGzip(accept string) bool {
	for _, coding := range strings.Split(accept, ",") {
		name, parameter, weighed := strings.Cut(strings.TrimSpace(coding), ";")
		if !strings.EqualFold(strings.TrimSpace(name), "gzip") {
			continue
		}
		if !weighed {
			return true
		}
		_, weight, _ := strings.Cut(parameter, "=")
		q, err := strconv.ParseFloat(strings.TrimSpace(weight), 64)
		return err == nil && q > 0
	}
	return false
}

// maxKeys is how many keys are read at most.
const maxKeys = 1024

// Lines reads keys, one a line.
func Lines(read func() ([]byte, error)) func() ([][]byte, error) {
	if read == nil {
		return nil
	}
	return func() ([][]byte, error) {
		text, err := read()
		if err != nil {
			return nil, err
		}
		var keys [][]byte
		for line := range bytes.Lines(text) {
			if key := bytes.TrimSpace(line); len(key) > 0 {
				keys = append(keys, key)
			}
		}
		switch {
		case len(keys) == 0:
			return nil, errors.New("there is no key")
		case len(keys) > maxKeys:
			return nil, fmt.Errorf("%d keys are more than %d", len(keys), maxKeys)
		}
		return keys, nil
	}
}
