package f5bigiptest

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"offpath/mitigate/f5bigip"
	"offpath/mitigate/internal/targettest"
)

// Server is a BIG-IP with a virtual server that has the iRule.
type Server struct {
	URL     string // of the virtual server
	Address string // of iControl REST
	API     *API
	Backend *targettest.Backend

	t       testing.TB
	rule    *rule
	handler [2]http.Handler
	listen  [2]string
	servers [2]*http.Server
}

// Start starts one.
func Start(t testing.TB, setup f5bigip.Setup) *Server {
	t.Helper()
	c, err := setup.Render()
	require.NoError(t, err)
	ports := targettest.FreePorts(t, 2)
	s := &Server{
		URL: fmt.Sprintf("http://127.0.0.1:%d", ports[0]), Address: fmt.Sprintf("http://127.0.0.1:%d", ports[1]),
		API: NewAPI(c.Groups, "/Common/offpath", c.Rule), Backend: targettest.NewBackend(t), t: t,
		listen: [2]string{fmt.Sprintf("127.0.0.1:%d", ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[1])},
	}
	s.rule = newRule(t, s.API, c.Rule)
	s.handler = [2]http.Handler{s.virtual(), s.API}
	s.Up()
	t.Cleanup(s.Down)
	return s
}

// Up starts it, with the configuration that was saved; Down ends it as a crash does.
func (s *Server) Up() {
	s.API.Reboot()
	for i := range s.servers {
		l, err := net.Listen("tcp", s.listen[i])
		require.NoError(s.t, err)
		s.servers[i] = &http.Server{Handler: s.handler[i]}
		go s.servers[i].Serve(l)
	}
}

// Down implements what Up says.
func (s *Server) Down() {
	for _, server := range s.servers {
		server.Close()
	}
}

// Logs are what the iRule wrote into the log.
func (s *Server) Logs() []string {
	s.rule.mu.Lock()
	defer s.rule.mu.Unlock()
	return s.rule.logs
}

// virtual is the virtual server.
func (s *Server) virtual() http.Handler {
	backend := &url.URL{Scheme: "http", Host: s.Backend.Address}
	set := func(h http.Header, words []string) {
		clear(h)
		for i := 0; i+1 < len(words); i += 2 {
			h.Add(words[i], words[i+1])
		}
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(backend)
			r.Out.Host = r.In.Host
		},
		ModifyResponse: func(r *http.Response) error {
			words, err := s.rule.run("HTTP_RESPONSE", "", r.Header)
			if err == nil {
				set(r.Header, words[1:])
			}
			return err
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		client, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil {
			panic(err)
		}
		words, err := s.rule.run("HTTP_REQUEST", client, r.Header)
		if err != nil {
			s.t.Log(err)
			panic(http.ErrAbortHandler) // as TMM does
		}
		if words[0] == "forward" {
			set(r.Header, words[1:])
			proxy.ServeHTTP(w, r)
			return
		}
		set(w.Header(), words[3:])
		status, err := strconv.Atoi(words[1])
		if err != nil {
			panic(err)
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(words[2]))
	})
}
