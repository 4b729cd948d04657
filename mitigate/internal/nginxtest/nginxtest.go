// Package nginxtest runs a real nginx with the Lua module and offpath's rules in front of a
// small backend, for tests: what counts is what a client is answered.
//
// A test is skipped where the program or the module is absent, but not under CI. Everything
// a Server starts ends with its test.
package nginxtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"offpath/mitigate/internal/targettest"
	"offpath/mitigate/nginx"
)

// Token is the bearer token of every Server.
const Token = "a-token-for-tests"

// modules is where Debian keeps dynamic modules.
const modules = "/usr/lib/nginx/modules/"

// Server is an nginx, its configuration and its backend.
type Server struct {
	instance
	Address string // of the endpoint
	CA      []byte // who signed the endpoint's certificate
	URL     string // of the protected site, HTTP/1
	H2      string // HOST:PORT of it, HTTP/2 without TLS

	backend *targettest.Backend
	bare    bool
}

// Options of a Server beside the setup.
type Options struct {
	Extra string // lines for the protected server
	Bare  bool   // without anything of offpath
	// Endpoint is unix (the default), tcp or https.
	Endpoint string
}

// Start runs nginx with the setup, of which addresses and folders are filled in.
func Start(t testing.TB, setup nginx.Setup, options Options) *Server {
	t.Helper()
	s := New(t, setup, options)
	s.Up()
	return s
}

// New writes the configuration without starting nginx.
func New(t testing.TB, setup nginx.Setup, options Options) *Server {
	t.Helper()
	program := Program(t)
	s := &Server{instance: newInstance(t, program), backend: targettest.NewBackend(t)}
	dir := s.Dir
	ports := targettest.FreePorts(t, 3)
	s.URL = fmt.Sprintf("http://127.0.0.1:%d", ports[0])
	s.H2 = fmt.Sprintf("127.0.0.1:%d", ports[1])
	switch options.Endpoint {
	case "tcp":
		s.Address = fmt.Sprintf("tcp:127.0.0.1:%d", ports[2])
	case "https":
		s.Address = fmt.Sprintf("https://127.0.0.1:%d", ports[2])
	default:
		s.Address = "unix:" + filepath.Join(dir, "orders.sock")
	}
	setup.Address, setup.Dir = s.Address, dir
	config, err := setup.Render()
	require.NoError(t, err)
	if options.Endpoint == "https" {
		s.CA = s.certificate()
	}
	for file, text := range map[string]string{config.ScriptFile: config.Script, config.RulesFile: config.Rules, config.TokenFile: Token + "\n"} {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	}
	include := "    include " + config.RulesFile + ";\n"
	if s.bare = options.Bare; s.bare {
		config.HTTP, include = "", ""
	}
	s.Configure(`load_module ` + modules + `ndk_http_module.so;
load_module ` + modules + `ngx_http_lua_module.so;
` + s.preamble() + config.HTTP + `
upstream bank { server ` + s.backend.Address + `; keepalive 8; }
server {
    listen 127.0.0.1:` + fmt.Sprint(ports[0]) + `;
    listen ` + s.H2 + ` http2;
` + include + options.Extra + `
    location / {
        proxy_pass http://bank;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
    }
}
}
`)
	t.Cleanup(s.Down)
	return s
}

// Program is the path of nginx; without it or its Lua module the test is skipped, but not
// under CI.
func Program(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"nginx", "/usr/sbin/nginx"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		if _, err := os.Stat(modules + "ngx_http_lua_module.so"); err == nil {
			return path
		}
	}
	require.Empty(t, os.Getenv("CI"), "no nginx with the Lua module, and tests must not be skipped here")
	t.Skip("no nginx with the Lua module on this machine: apt-get install nginx libnginx-mod-http-lua")
	return ""
}

// Backend is what is protected.
func (s *Server) Backend() *targettest.Backend { return s.backend }

// Target is a target of it.
func (s *Server) Target(t testing.TB, change ...func(*nginx.Options)) *nginx.Target {
	t.Helper()
	options := nginx.Options{Name: "lb1", Address: s.Address, Token: Secret(Token), CA: s.CA}
	for _, f := range change {
		f(&options)
	}
	target, err := nginx.New(options)
	require.NoError(t, err)
	return target
}

// Up starts nginx and waits until it answers.
func (s *Server) Up() {
	s.t.Helper()
	os.Remove(strings.TrimPrefix(s.Address, "unix:")) // which a killed nginx leaves
	s.start()
	s.await("tcp", strings.TrimPrefix(s.URL, "http://"))
	s.awaitWorkers()
	if s.bare {
		return
	}
	if path, ok := strings.CutPrefix(s.Address, "unix:"); ok {
		s.await("unix", path)
	} else {
		_, address, _ := strings.Cut(s.Address, ":")
		s.await("tcp", strings.TrimPrefix(address, "//"))
	}
}

// Get asks as a client with the source address from. Headers are name and value in turn.
func (s *Server) Get(from, path string, headers ...string) targettest.Answer {
	s.t.Helper()
	return targettest.Get(s.t, from, s.URL+path, headers...)
}

// Secret is a token as a target reads it.
func Secret(token string) func() ([]byte, error) {
	return func() ([]byte, error) { return []byte(token), nil }
}

// certificate makes one for the endpoint, and returns it.
func (s *Server) certificate() []byte {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(s.t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "nginx"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(s.t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(s.t, err)
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	require.NoError(s.t, os.WriteFile(filepath.Join(s.Dir, "server.pem"), text, 0o600))
	require.NoError(s.t, os.WriteFile(filepath.Join(s.Dir, "server.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600))
	return text
}
