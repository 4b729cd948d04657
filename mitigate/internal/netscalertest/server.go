package netscalertest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"offpath/mitigate/internal/targettest"
	"offpath/mitigate/netscaler"
)

// Server is a NetScaler with a virtual server for each family of addresses, which share a
// port, as its printed configuration has them.
type Server struct {
	URL     string // of the virtual servers
	Address string // of NITRO
	API     *API
	Backend *targettest.Backend

	t       testing.TB
	handler [2]http.Handler
	listen  [2]string
	servers [2]*http.Server
}

// Start starts one.
func Start(t testing.TB) *Server {
	t.Helper()
	c, err := netscaler.Setup{}.Render()
	require.NoError(t, err)
	api, err := NewAPI(c.Commands)
	require.NoError(t, err)
	ports := targettest.FreePorts(t, 2)
	s := &Server{
		URL: fmt.Sprintf("http://127.0.0.1:%d", ports[0]), Address: fmt.Sprintf("http://127.0.0.1:%d", ports[1]),
		API: api, Backend: targettest.NewBackend(t), t: t,
		listen: [2]string{fmt.Sprintf("127.0.0.1:%d", ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[1])},
	}
	s.handler = [2]http.Handler{http.HandlerFunc(s.virtual), s.API}
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

// clientOf is where a request comes from. A test can't send from every address: what comes
// from targettest.Proxy is of the client that it names.
func clientOf(r *http.Request) (netip.Addr, error) {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	client := peer.Addr().Unmap()
	if named := r.Header.Get("X-Forwarded-For"); err == nil && named != "" && client.String() == targettest.Proxy {
		return netip.ParseAddr(named)
	}
	return client, err
}

// virtual is the virtual server of the client's family: first the responder's label, then
// rewrite's.
func (s *Server) virtual(w http.ResponseWriter, in *http.Request) {
	client, err := clientOf(in)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r := &request{client: client, header: in.Header, api: s.API}
	family := map[bool]string{true: "4", false: "6"}[client.Is4()]
	actions, err := s.API.responder.evaluate("offpath_refuse"+family, r)
	for _, act := range actions {
		if err == nil && act.kind == "respondwith" {
			var text any
			if text, err = act.text(r); err == nil {
				respond(w, text.(string))
				return
			}
		}
	}
	if err == nil {
		actions, err = s.API.rewrite.evaluate("offpath_tag"+family, r)
	}
	for _, act := range actions {
		if err == nil {
			err = act.rewrite(r, in.Header)
		}
	}
	if err != nil {
		s.t.Errorf("policies: %v", err)
		panic(http.ErrAbortHandler)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(&url.URL{Scheme: "http", Host: s.Backend.Address})
			p.Out.Host = p.In.Host
		},
		ModifyResponse: func(answer *http.Response) error {
			r.response = answer.Header
			unmark := s.API.rewrite.policies["offpath_unmark"]
			if matched, err := unmark.rule(r); err != nil || matched != true {
				return err
			}
			return s.API.rewrite.actions[unmark.action].rewrite(r, answer.Header)
		},
	}
	proxy.ServeHTTP(w, in)
}

// rewrite changes header fields.
func (a action) rewrite(r *request, header http.Header) error {
	switch a.kind {
	case "delete_http_header":
		header.Del(a.target)
	case "insert_http_header":
		text, err := a.text(r)
		if err != nil {
			return err
		}
		header.Add(a.target, text.(string))
	}
	return nil
}

// respond answers with a text that is a whole answer.
func respond(w http.ResponseWriter, text string) {
	answer, err := http.ReadResponse(bufio.NewReader(strings.NewReader(text)), nil)
	if err != nil {
		panic(err)
	}
	defer answer.Body.Close()
	for name, values := range answer.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.StatusCode)
	_, _ = io.Copy(w, answer.Body)
}
