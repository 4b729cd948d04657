package cloudflaretest

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"offpath/mitigate/internal/targettest"
)

// Server is Cloudflare: the API and an edge.
type Server struct {
	URL     string // of what is behind the edge, in [Zone]
	Address string // of the API
	API     *API
	Backend *targettest.Backend

	t      testing.TB
	listen string // of the API
	server *http.Server
}

// Start starts one; handler stands before the API, nil: nothing does.
func Start(t testing.TB, api *API, handler func(http.Handler) http.Handler) *Server {
	t.Helper()
	ports := targettest.FreePorts(t, 2)
	edge, listen := fmt.Sprintf("127.0.0.1:%d", ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[1])
	s := &Server{URL: "http://" + edge, Address: "http://" + listen + "/client/v4", API: api, Backend: targettest.NewBackend(t), t: t, listen: listen}
	l, err := net.Listen("tcp", edge)
	require.NoError(t, err)
	server := &http.Server{Handler: s.edge()}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	s.server = &http.Server{Handler: api}
	if handler != nil {
		s.server.Handler = handler(api)
	}
	s.Up()
	t.Cleanup(s.Down)
	return s
}

// Up starts the API, Down ends it: the edge goes on without.
func (s *Server) Up() {
	l, err := net.Listen("tcp", s.listen)
	require.NoError(s.t, err)
	s.server = &http.Server{Handler: s.server.Handler}
	go s.server.Serve(l)
}

// Down implements what Up says.
func (s *Server) Down() { s.server.Close() }

// refusalPage begins what the edge answers who is refused.
const refusalPage = "error code: 1020"

// edge refuses or passes on. Whoever comes from [targettest.Proxy] is whom it names.
func (s *Server) edge() http.Handler {
	backend := &url.URL{Scheme: "http", Host: s.Backend.Address}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(backend)
		r.Out.Host = r.In.Host
		r.Out.Header.Set("Cf-Connecting-Ip", client(r.In))
	}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := strings.Cut(r.Host, ":")
		if s.API.Refuses(Zone, client(r), host) {
			http.Error(w, refusalPage, http.StatusForbidden)
			return
		}
		proxy.ServeHTTP(w, r)
	})
}

func client(r *http.Request) string {
	peer, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		panic(err)
	}
	if named := r.Header.Get("X-Forwarded-For"); named != "" && peer == targettest.Proxy {
		return named
	}
	return peer
}

// ErrRefused says that the edge refused a client. What it answers names no verdict.
var ErrRefused = errors.New("refused at the edge")

// Ask is a request of a client.
func (s *Server) Ask(client string) (targettest.Answer, error) {
	from, headers := client, []string(nil)
	if !strings.HasPrefix(client, "127.") {
		from, headers = targettest.Proxy, []string{"X-Forwarded-For", client}
	}
	a, err := targettest.TryGet(from, s.URL+"/", headers...)
	if err != nil {
		s.t.Error(err)
		return a, err
	}
	if a.Status == http.StatusForbidden {
		return targettest.Answer{}, ErrRefused
	}
	return targettest.Answer{Status: a.Status}, nil
}
