package envoy_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	xdscore "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	router "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	manager "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/xds"
	"google.golang.org/protobuf/types/known/anypb"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/envoy"
	"offpath/mitigate/internal/envoytest"
	"offpath/mitigate/internal/targettest"
)

// grpcServer is a server of gRPC that has its listener from a control plane (xDS, gRPC's own
// client of it).
type grpcServer struct {
	t       testing.TB
	address string
	modes   chan xds.ServingModeChangeArgs // as it changes them
}

// startGRPC starts one whose control plane is said to be at an address.
func startGRPC(t testing.TB, controlPlane string) *grpcServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	g := &grpcServer{t: t, address: l.Addr().String(), modes: make(chan xds.ServingModeChangeArgs, 100)}
	server, err := xds.NewGRPCServer(
		xds.BootstrapContentsForTesting(fmt.Appendf(nil, `{
			"xds_servers": [{"server_uri": %q, "channel_creds": [{"type": "insecure"}], "server_features": ["xds_v3"]}],
			"node": {"id": "grpc"},
			"server_listener_resource_name_template": "grpc/server?xds.resource.listening_address=%%s"
		}`, controlPlane)),
		xds.ServingModeCallback(func(_ net.Addr, change xds.ServingModeChangeArgs) {
			select {
			case g.modes <- change:
			default:
			}
		}),
	)
	require.NoError(t, err)
	healthpb.RegisterHealthServer(server, health.NewServer())
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() { server.Stop(); <-done })
	return g
}

// becomes waits for the next change of mode.
func (g *grpcServer) becomes(mode connectivity.ServingMode) (reason error) {
	g.t.Helper()
	select {
	case change := <-g.modes:
		require.Equal(g.t, mode, change.Mode, change.Err)
		return change.Err
	case <-time.After(targettest.Wait):
		require.FailNow(g.t, "it stays as it is")
		return nil
	}
}

// refused waits until it has been told once more that it is at no control plane of its own. Before
// that it may have asked a socket that nobody listened to yet.
func (g *grpcServer) refused() {
	g.t.Helper()
	for {
		reason := g.becomes(connectivity.ServingModeNotServing)
		if strings.Contains(reason.Error(), "code = Unimplemented") {
			return
		}
		require.ErrorContains(g.t, reason, "code = Unavailable")
	}
}

// call is what a client of it is answered.
func (g *grpcServer) call() error {
	g.t.Helper()
	conn, err := grpc.NewClient(g.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(g.t, err)
	defer conn.Close()
	_, err = healthpb.NewHealthClient(conn).Check(within(g.t, targettest.Wait), &healthpb.HealthCheckRequest{})
	return err
}

// controlPlane is an operator's: it has every listener that it is asked for.
type controlPlane struct {
	discovery.UnimplementedAggregatedDiscoveryServiceServer
}

func (controlPlane) StreamAggregatedResources(stream discovery.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	for {
		request, err := stream.Recv()
		if err != nil {
			return err
		}
		if request.ResponseNonce != "" || len(request.ResourceNames) != 1 {
			continue
		}
		l, err := listenerOf(request.ResourceNames[0])
		if err != nil {
			return err
		}
		if err := stream.Send(&discovery.DiscoveryResponse{VersionInfo: "1", Nonce: "1", TypeUrl: l.TypeUrl, Resources: []*anypb.Any{l}}); err != nil {
			return err
		}
	}
}

// listenerOf is a listener of the name, which lets all through.
func listenerOf(name string) (*anypb.Any, error) {
	_, where, _ := strings.Cut(name, "=")
	address, err := net.ResolveTCPAddr("tcp", where)
	if err != nil {
		return nil, err
	}
	filter := new(anypb.Any)
	if err := filter.MarshalFrom(&router.Router{}); err != nil {
		return nil, err
	}
	chain := new(anypb.Any)
	if err := chain.MarshalFrom(&manager.HttpConnectionManager{
		RouteSpecifier: &manager.HttpConnectionManager_RouteConfig{RouteConfig: &route.RouteConfiguration{VirtualHosts: []*route.VirtualHost{{
			Domains: []string{"*"},
			Routes: []*route.Route{{
				Match:  &route.RouteMatch{PathSpecifier: &route.RouteMatch_Prefix{Prefix: "/"}},
				Action: &route.Route_NonForwardingAction{NonForwardingAction: &route.NonForwardingAction{}},
			}},
		}}}},
		HttpFilters: []*manager.HttpFilter{{Name: "router", ConfigType: &manager.HttpFilter_TypedConfig{TypedConfig: filter}}},
	}); err != nil {
		return nil, err
	}
	l := new(anypb.Any)
	return l, l.MarshalFrom(&listener.Listener{
		Name: name,
		Address: &xdscore.Address{Address: &xdscore.Address_SocketAddress{SocketAddress: &xdscore.SocketAddress{
			Address: address.IP.String(), PortSpecifier: &xdscore.SocketAddress_PortValue{PortValue: uint32(address.Port)},
		}}},
		FilterChains: []*listener.FilterChain{{Filters: []*listener.Filter{{Name: "http", ConfigType: &listener.Filter_TypedConfig{TypedConfig: chain}}}}},
	})
}

func TestAServerOfGRPCIsNoEnvoy(t *testing.T) {
	t.Parallel()
	address := envoytest.Address(t)
	target := run(t, envoy.Options{Address: address})
	g := startGRPC(t, address)
	for range 2 { // it asks again
		g.refused()
		_, err := target.Identity(t.Context())
		assert.ErrorIs(t, err, envoy.ErrNoEnvoy)
		assert.ErrorIs(t, target.Prepared(t.Context()), envoy.ErrNoEnvoy)
		_, err = target.Sync(t.Context(), []mitigate.Entry{block(1, of(client))})
		assert.ErrorIs(t, err, envoy.ErrNoEnvoy)
		assert.ErrorIs(t, target.SetMode(t.Context(), detect.ModeEnforce, false), envoy.ErrNoEnvoy)
		_, _, err = target.Mode(t.Context())
		assert.ErrorIs(t, err, envoy.ErrNoEnvoy)
		assert.Empty(t, target.Addresses())
	}
}

func TestBesideAServerOfGRPCVerdictsAreInForceAtEnvoy(t *testing.T) {
	t.Parallel()
	var address string
	s, target := enforcing(t, func(o *envoy.Options) { address = o.Address })
	g := startGRPC(t, address)
	for id := range mitigate.ID(2) {
		g.refused()
		e := block(1+id, of(client))
		require.NoError(t, target.Apply(within(t, targettest.Wait), []mitigate.Entry{e}, nil))
		answers(t, s, refused(e), client, "/")
		answers(t, s, passed, other, "/")
		connected(t, target, 1)
	}
	mode, _, err := target.Mode(t.Context())
	require.NoError(t, err)
	assert.Equal(t, detect.ModeEnforce, mode)
	require.NoError(t, target.SetMode(within(t, targettest.Wait), detect.ModeOff, false))
	answers(t, s, passed, client, "/")
}

func TestAServerOfGRPCKeepsTheListenerThatItsControlPlaneGaveIt(t *testing.T) {
	t.Parallel()
	address := envoytest.Address(t)
	l, err := net.Listen("unix", strings.TrimPrefix(address, "unix:"))
	require.NoError(t, err)
	plane := grpc.NewServer()
	discovery.RegisterAggregatedDiscoveryServiceServer(plane, controlPlane{})
	served := make(chan error, 1)
	go func() { served <- plane.Serve(l) }()
	between, relayed := startRelay(t, address)
	g := startGRPC(t, relayed)
	g.becomes(connectivity.ServingModeServing)
	require.NoError(t, g.call())
	plane.Stop()
	require.NoError(t, <-served)
	between.cut()

	run(t, envoy.Options{Address: address})
	targettest.Eventually(t, func() bool { return between.connections() == 1 }, func() string { return "it has found the target" })
	fresh := startGRPC(t, address)
	for range 3 { // by then the first has asked, too
		fresh.refused()
	}
	assert.NoError(t, g.call())
	assert.Empty(t, g.modes)
}
