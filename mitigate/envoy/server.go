package envoy

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	accesslog "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"
	extension "github.com/envoyproxy/go-control-plane/envoy/service/extension/v3"
	"golang.org/x/net/netutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
)

// The most Envoys of one target, connections of all (each has one, and one of each of its
// workers that logs), and streams of a connection.
const (
	maxEnvoys      = 64
	maxConnections = 32 * maxEnvoys
	maxStreams     = 32
)

// How soon an Envoy that does not answer any more counts as gone.
const (
	pingInterval = 10 * time.Second
	pingTimeout  = 5 * time.Second
)

// idleTimeout is how long a connection may have no stream: who is not let in, or asks for
// what is not here, keeps no place.
const idleTimeout = time.Minute

// listenAddress is where to listen: unix:PATH or tcp:HOST:PORT.
type listenAddress struct {
	network, where string
	loopback       bool // or a unix socket
}

func parseAddress(text string) (a listenAddress, problem string) {
	network, where, _ := strings.Cut(text, ":")
	switch network {
	case "unix":
		if !strings.HasPrefix(where, "/") {
			return a, "has no absolute path"
		}
		if len(where) > maxSocketPath {
			return a, fmt.Sprintf("has a path of %d octets, more than the %d of a unix socket", len(where), maxSocketPath)
		}
		return listenAddress{network, where, true}, ""
	case "tcp":
		to, err := netip.ParseAddrPort(where)
		if err != nil || to.Port() == 0 {
			return a, "is not tcp:ADDRESS:PORT"
		}
		return listenAddress{network, where, to.Addr().IsLoopback()}, ""
	}
	return a, "is no address to listen at"
}

// maxSocketPath is the longest path of a unix socket, unix(7).
const maxSocketPath = 107

// CheckAddress says what is wrong with an address to listen at; tls says that there is a
// certificate, token that there is one.
func CheckAddress(address string, tls, token bool) string {
	a, problem := parseAddress(address)
	switch {
	case problem != "":
		return problem
	case a.network == "tcp" && !a.loopback && !tls:
		return "is not loopback, and verdicts would go in the clear"
	case a.network == "tcp" && !tls && !token:
		return "lets every user of the machine in"
	}
	return ""
}

// listen opens the socket. Who may open a unix socket is up to its folder and group.
func (t *Target) listen(ctx context.Context) (net.Listener, error) {
	if t.at.network == "unix" {
		// What a process that was killed left behind; a live one keeps its socket.
		if conn, err := net.DialTimeout("unix", t.at.where, time.Second); err == nil {
			conn.Close()
			return nil, fmt.Errorf("listen at %s: somebody else does", t.at.where)
		}
		if info, err := os.Lstat(t.at.where); err == nil && info.Mode().Type() == os.ModeSocket {
			os.Remove(t.at.where)
		}
	}
	var config net.ListenConfig
	l, err := config.Listen(ctx, t.at.network, t.at.where)
	if err != nil {
		return nil, fmt.Errorf("listen for envoy: %w", err)
	}
	if t.at.network == "unix" {
		if err := os.Chmod(t.at.where, 0o660); err != nil {
			l.Close()
			return nil, fmt.Errorf("listen for envoy: %w", err)
		}
	}
	return netutil.LimitListener(l, maxConnections), nil
}

// Run implements [mitigate.Runner]: it serves Envoys until the context ends.
func (t *Target) Run(ctx context.Context) error {
	t.serves.Store(true)
	options := []grpc.ServerOption{
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingInterval, Timeout: pingTimeout, MaxConnectionIdle: idleTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}),
		grpc.StatsHandler(&greeter{t.fleet}),
		grpc.StreamInterceptor(t.admit),
		grpc.ConnectionTimeout(pingTimeout),
	}
	if t.options.Certificate != "" {
		config, err := t.tls()
		if err != nil {
			return err
		}
		options = append(options, grpc.Creds(credentials.NewTLS(config)))
	}
	listener, err := t.listen(ctx)
	if err != nil {
		return err
	}
	server := grpc.NewServer(options...)
	extension.RegisterExtensionConfigDiscoveryServiceServer(server, &discoverer{fleet: t.fleet})
	accesslog.RegisterAccessLogServiceServer(server, &counter{hits: &t.hits})
	stop := context.AfterFunc(ctx, server.Stop)
	defer stop()
	if err := server.Serve(listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve envoy: %w", err)
	}
	return nil
}

// tls reads certificate and key at each run: who changes them restarts offpath.
func (t *Target) tls() (*tls.Config, error) {
	key, err := t.options.Key()
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	chain, err := os.ReadFile(t.options.Certificate)
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	certificate, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", t.options.Certificate, err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	if t.options.CA != "" {
		ca, err := os.ReadFile(t.options.CA)
		if err != nil {
			return nil, fmt.Errorf("read ca: %w", err)
		}
		config.ClientCAs, config.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
		if !config.ClientCAs.AppendCertsFromPEM(ca) {
			return nil, fmt.Errorf("ca %s holds no certificate", t.options.CA)
		}
	}
	return config, nil
}

// admit asks for the token, if there is one.
func (t *Target) admit(server any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if t.options.Token != nil {
		token, err := t.options.Token()
		if err != nil || len(token) == 0 {
			return status.Error(codes.Unavailable, "no token here")
		}
		wanted := sha256.Sum256(append([]byte("Bearer "), token...))
		given := metadata.ValueFromIncomingContext(stream.Context(), "authorization")
		if len(given) != 1 {
			return status.Error(codes.Unauthenticated, "no token")
		}
		if sum := sha256.Sum256([]byte(given[0])); subtle.ConstantTimeCompare(sum[:], wanted[:]) != 1 {
			return status.Error(codes.Unauthenticated, "wrong token")
		}
	}
	return handler(server, stream)
}

// greeter follows connections: an Envoy is the one that asks for filters, whatever the number
// of its streams. Those of its workers only log.
type greeter struct{ fleet *fleet }

type connectionKey struct{}

func connectionOf(ctx context.Context) *connection {
	c, _ := ctx.Value(connectionKey{}).(*connection)
	return c
}

// TagConn implements [stats.Handler].
func (g *greeter) TagConn(ctx context.Context, info *stats.ConnTagInfo) context.Context {
	var peer netip.Addr
	if a, err := netip.ParseAddrPort(info.RemoteAddr.String()); err == nil {
		peer = a.Addr().Unmap()
	}
	return context.WithValue(ctx, connectionKey{}, g.fleet.join(peer))
}

// HandleConn implements [stats.Handler].
func (g *greeter) HandleConn(ctx context.Context, s stats.ConnStats) {
	if _, ended := s.(*stats.ConnEnd); ended {
		g.fleet.leave(connectionOf(ctx))
	}
}

// TagRPC implements [stats.Handler].
func (g *greeter) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC implements [stats.Handler].
func (g *greeter) HandleRPC(context.Context, stats.RPCStats) {}
