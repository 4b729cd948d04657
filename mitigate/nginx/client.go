package nginx

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"offpath/mitigate"
)

// maxAnswer bounds an answer, octets: the sixteenth of a million rows has some seven million.
const maxAnswer = 32 << 20

// lastLine ends every answer.
const lastLine = "end\n"

// Errors of an endpoint.
var (
	// ErrNotPrepared says that nginx lacks the script or has another version of it.
	ErrNotPrepared = errors.New("nginx is not prepared: add what `offpath target-config` prints to its configuration")
	errToken       = errors.New("nginx does not know the token: it is to be the same in its file and in the target's key `token`, and nginx reads its file at a reload")
)

// client gives orders to one endpoint, each on a connection of its own: one kept open would
// stay with an old worker after a reload.
type client struct {
	http   *http.Client
	base   string // of the URLs
	token  func() ([]byte, error)
	remote atomic.Pointer[netip.Addr] // last reached at; nil: a unix socket, or never
}

// endpoint says how an address is reached.
type endpoint struct {
	network, where string // as net.Dial has them
	host           string // whom the certificate is to name; "" without TLS
}

// parseAddress reads unix:PATH, tcp:HOST:PORT or https://HOST:PORT. Of tcp the host is a
// loopback address: the token goes in the clear.
func parseAddress(address string) (e endpoint, problem string) {
	kind, rest, _ := strings.Cut(address, ":")
	switch kind {
	case "unix":
		switch {
		case !filepath.IsAbs(rest):
			return e, "has no absolute path"
		case len(rest) > maxSocketPath:
			return e, fmt.Sprintf("has a path of %d octets, more than the %d of a unix socket", len(rest), maxSocketPath)
		}
		return endpoint{network: "unix", where: rest}, ""
	case "tcp":
		to, err := netip.ParseAddrPort(rest)
		if err != nil || !to.Addr().IsLoopback() || to.Port() == 0 {
			return e, "is no port of a loopback address, and the token would go in the clear"
		}
		return endpoint{network: "tcp", where: rest}, ""
	case "https":
		u, err := url.Parse(address)
		if err != nil || u.Port() == "" || u.Hostname() == "" || u.Path != "" || u.RawQuery != "" || u.User != nil || u.Fragment != "" {
			return e, "is not https://HOST:PORT"
		}
		return endpoint{"tcp", u.Host, u.Hostname()}, ""
	}
	return e, "is no address of an nginx"
}

// maxSocketPath is the longest path of a unix socket, octets (unix(7)).
const maxSocketPath = 107

// CheckAddress says what is wrong with an address; "" if nothing is.
func CheckAddress(address string) (problem string) {
	_, problem = parseAddress(address)
	return problem
}

func newClient(o *Options) (*client, error) {
	to, problem := parseAddress(o.Address)
	if problem != "" {
		return nil, fmt.Errorf("address %q %s", o.Address, problem)
	}
	if o.Token == nil {
		return nil, errors.New("there is no token")
	}
	c := &client{base: "http://offpath", token: o.Token}
	transport := &http.Transport{
		DisableKeepAlives:     true,
		DisableCompression:    true,
		TLSHandshakeTimeout:   o.Timeout,
		ResponseHeaderTimeout: o.Timeout,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := (&net.Dialer{Timeout: o.Timeout}).DialContext(ctx, to.network, to.where)
			if err != nil {
				return nil, err
			}
			if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
				remote := a.AddrPort().Addr().Unmap()
				c.remote.Store(&remote)
			}
			return conn, nil
		},
	}
	if to.host != "" {
		c.base = "https://" + to.where
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: to.host}
		if len(o.CA) > 0 {
			roots := x509.NewCertPool()
			if !roots.AppendCertsFromPEM(o.CA) {
				return nil, errors.New("ca holds no certificate in PEM")
			}
			transport.TLSClientConfig.RootCAs = roots
		}
	}
	c.http = &http.Client{
		Transport:     transport,
		Timeout:       2 * o.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// ask gives an order and returns the lines of the answer but the last.
func (c *client) ask(ctx context.Context, method, path, body string) (string, error) {
	token, err := c.token()
	switch {
	case err != nil:
		return "", fmt.Errorf("token: %w", err)
	case len(token) == 0 || bytes.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", errors.New("the token is empty or holds what no header field does")
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	request.Header.Set("Authorization", "Bearer "+string(token))
	response, err := c.http.Do(request)
	if err != nil {
		var failed *url.Error
		if errors.As(err, &failed) {
			err = failed.Err // without the URL, which says nothing
		}
		return "", fmt.Errorf("ask nginx: %w", err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case response.StatusCode == http.StatusUnauthorized:
		return "", errToken
	case response.StatusCode == http.StatusServiceUnavailable, response.StatusCode == http.StatusNotFound:
		return "", fmt.Errorf("%w (%s: %s)", ErrNotPrepared, response.Status, excerpt(answer))
	case response.StatusCode != http.StatusOK:
		return "", fmt.Errorf("nginx answers %s: %s", response.Status, excerpt(answer))
	case err != nil:
		return "", fmt.Errorf("%w: %w", mitigate.ErrIncomplete, err)
	case len(answer) > maxAnswer:
		return "", fmt.Errorf("nginx answers with more than %d octets", maxAnswer)
	}
	lines, whole := bytes.CutSuffix(answer, []byte(lastLine))
	if !whole || len(lines) > 0 && lines[len(lines)-1] != '\n' {
		return "", fmt.Errorf("%w: its last line is missing", mitigate.ErrIncomplete)
	}
	return string(lines), nil
}

// excerpt is the beginning of an answer's first line, for an error.
func excerpt(answer []byte) string {
	line, _, _ := bytes.Cut(answer, []byte("\n"))
	return fmt.Sprintf("%.80q", line)
}

const defaultTimeout = 5 * time.Second
