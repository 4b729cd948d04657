// Package rest has what the targets that are reached by a REST API share: what an address of
// one may be, and the connections to it.
package rest

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"offpath/mitigate"
)

// CheckAddress says what is wrong with an address of an API, which has to be a scheme and a
// host; "" if nothing is. With secret it carries a password, so that beyond loopback it has
// to be https.
func CheckAddress(address string, secret bool) string {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil ||
		u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/" {
		if secret {
			return "is not https://HOST or https://HOST:PORT"
		}
		return "is not http://HOST:PORT or https://HOST:PORT"
	}
	if a, err := netip.ParseAddr(u.Hostname()); secret && u.Scheme == "http" && (err != nil || !a.IsLoopback()) {
		return "would show the password to the network"
	}
	return ""
}

// Server is where an API is. Its methods may be called concurrently.
type Server struct {
	// Address is one that CheckAddress has nothing against.
	Address string
	// CA is a PEM file of who may vouch for the server; empty: whom the system trusts.
	CA string
	// Connections are how many are kept when nothing is asked; 0: two.
	Connections int

	mu   sync.Mutex
	http *http.Client
}

// URL is that of a path, which begins with a slash.
func (s *Server) URL(path string) string { return strings.TrimSuffix(s.Address, "/") + path }

// Client makes the client at its first use: the file of a CA may be there only where
// offpath runs. It follows no redirects.
func (s *Server) Client() (*http.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.http != nil {
		return s.http, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.CA != "" {
		text, err := os.ReadFile(s.CA)
		if err != nil {
			return nil, fmt.Errorf("read ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("ca %s holds no certificate in PEM", s.CA)
		}
	}
	s.http = &http.Client{
		Transport:     &http.Transport{TLSClientConfig: config, MaxIdleConnsPerHost: s.Connections, IdleConnTimeout: time.Minute},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return s.http, nil
}

// Do sends a request to the server, as [Do].
func (s *Server) Do(request *http.Request, most int64) (*http.Response, []byte, error) {
	client, err := s.Client()
	if err != nil {
		return nil, nil, err
	}
	return Do(client, request, most)
}

// Addr is the server's, where the address names one and no host.
func (s *Server) Addr() (netip.Addr, bool) {
	u, err := url.Parse(s.Address)
	if err != nil {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(u.Hostname())
	return a.Unmap(), err == nil
}

// Do sends a request and reads the whole answer, of which the body is returned apart. One that
// breaks off is a [mitigate.ErrIncomplete], one longer than so many octets an error.
func Do(client *http.Client, request *http.Request, most int64) (*http.Response, []byte, error) {
	response, err := client.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, most+1))
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("%s %s: %w: %w", request.Method, request.URL.Path, mitigate.ErrIncomplete, err)
	case int64(len(body)) > most:
		return nil, nil, fmt.Errorf("%s %s: answer is longer than %d octets", request.Method, request.URL.Path, most)
	}
	return response, body, nil
}
