package gobgp

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	api "github.com/osrg/gobgp/v3/api"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	"offpath/detect"
)

// Bounds of what is read of gobgpd.
const (
	maxPaths  = 3_000_000 // a full table and more
	maxPeers  = 10_000
	maxSets   = 10_000
	maxAnswer = 4 << 20 // octets of one message
)

// batch is how many routes one message has: about 300 octets each.
const batch = 500

// Names of defined sets. A person turns it off by adding to offSet:
// gobgp policy large-community add offpath-off 0:0:0
const (
	offSet  = "offpath-off"
	lifeSet = "offpath-life"
)

func (t *Target) modeSet() string { return "offpath-" + t.options.Method }

var modes = map[string]detect.Mode{"0:0:1": detect.ModeMonitor, "0:0:2": detect.ModeEnforce}

func (t *Target) dial() error {
	address := "passthrough:///" + strings.TrimPrefix(t.options.Address, "tcp:")
	if strings.HasPrefix(t.options.Address, "unix:") {
		address = t.options.Address
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)), grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: t.options.Timeout}))
	if err != nil {
		return fmt.Errorf("gobgp address %q: %w", t.options.Address, err)
	}
	t.conn, t.api = conn, api.NewGobgpApiClient(conn)
	return nil
}

// within bounds one exchange. After a failure the connection is made anew at once.
func (t *Target) within(ctx context.Context) (context.Context, context.CancelFunc) {
	t.conn.ResetConnectBackoff()
	return context.WithTimeout(ctx, t.options.Timeout)
}

// failed says what was asked, and of an older or newer API what to do.
func failed(what string, err error) error {
	if status.Code(err) == codes.Unimplemented {
		return fmt.Errorf("gobgpd %s: it is no GoBGP 3: %w", what, err)
	}
	return fmt.Errorf("gobgpd %s: %w", what, err)
}

// each reads a stream of answers, no more than limit of them.
func each[T any](what string, limit int, stream grpc.ServerStreamingClient[T], f func(*T)) error {
	for n := 0; ; n++ {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return failed(what, err)
		}
		if n >= limit {
			return fmt.Errorf("gobgpd %s: more than %d answers", what, limit)
		}
		f(m)
	}
}

// readASN asks for the number of gobgpd's autonomous system.
func (t *Target) readASN(ctx context.Context) (uint32, error) {
	answer, err := t.api.GetBgp(ctx, &api.GetBgpRequest{})
	if err != nil {
		return 0, failed("get bgp", err)
	}
	asn := answer.GetGlobal().GetAsn()
	if asn == 0 {
		return 0, errors.New("gobgpd has not started BGP: its configuration has no global.config.as")
	}
	return asn, nil
}

// readRoutes lists our routes.
func (t *Target) readRoutes(ctx context.Context, asn uint32) (map[rule]route, error) {
	list := map[rule]route{}
	for _, f := range t.families() {
		stream, err := t.api.ListPath(ctx, &api.ListPathRequest{TableType: api.TableType_GLOBAL, Family: f.api()})
		if err != nil {
			return nil, failed("list paths", err)
		}
		err = each("list paths", maxPaths, stream, func(m *api.ListPathResponse) {
			for _, p := range m.GetDestination().GetPaths() {
				if r, ours := parseRoute(asn, p); ours {
					p.Family = f.api()
					list[r.rule] = r
				}
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}

// announce has routes announced, or withdrawn, in one stream; more is asked before
// each message whether to go on.
func (t *Target) announce(ctx context.Context, withdraw bool, routes []route, more func() bool) error {
	ctx, cancel := t.within(ctx)
	defer cancel()
	stream, err := t.api.AddPathStream(ctx)
	if err != nil {
		return failed("add paths", err)
	}
	for len(routes) > 0 && more() {
		m := &api.AddPathStreamRequest{TableType: api.TableType_GLOBAL}
		for _, r := range routes[:min(batch, len(routes))] {
			m.Paths = append(m.Paths, &api.Path{Nlri: r.path.Nlri, Pattrs: r.path.Pattrs, Family: r.path.Family, Identifier: pathID, IsWithdraw: withdraw})
		}
		routes = routes[len(m.Paths):]
		if err := stream.Send(m); err != nil {
			break // the answer says why
		}
	}
	if _, err := stream.CloseAndRecv(); err != nil {
		return failed("add paths", err)
	}
	return nil
}

// readSets reads the defined sets of large communities that are ours.
func (t *Target) readSets(ctx context.Context) (map[string][]string, error) {
	stream, err := t.api.ListDefinedSet(ctx, &api.ListDefinedSetRequest{DefinedType: api.DefinedType_LARGE_COMMUNITY})
	if err != nil {
		return nil, failed("list sets", err)
	}
	sets := map[string][]string{}
	err = each("list sets", maxSets, stream, func(m *api.ListDefinedSetResponse) {
		switch name := m.GetDefinedSet().GetName(); name {
		case offSet, lifeSet, t.modeSet():
			for _, c := range m.DefinedSet.List { // they come as expressions
				sets[name] = append(sets[name], strings.TrimSuffix(strings.TrimPrefix(c, "^"), "$"))
			}
		}
	})
	return sets, err
}

// writeSet makes a set one of a single value; "" deletes it. In between it is missing.
func (t *Target) writeSet(ctx context.Context, there bool, name, value string) error {
	set := &api.DefinedSet{DefinedType: api.DefinedType_LARGE_COMMUNITY, Name: name}
	if there {
		if _, err := t.api.DeleteDefinedSet(ctx, &api.DeleteDefinedSetRequest{DefinedSet: set, All: true}); err != nil {
			return failed("delete set "+name, err)
		}
	}
	if value == "" {
		return nil
	}
	set.List = []string{value}
	if _, err := t.api.AddDefinedSet(ctx, &api.AddDefinedSetRequest{DefinedSet: set}); err != nil {
		return failed("add set "+name, err)
	}
	return nil
}

// readMode is the mode of sets; local says that a person turned it off.
func (t *Target) readMode(sets map[string][]string) (mode detect.Mode, local bool) {
	if _, off := sets[offSet]; off {
		return detect.ModeOff, true
	}
	if list := sets[t.modeSet()]; len(list) == 1 {
		if m, ok := modes[list[0]]; ok {
			return m, false
		}
	}
	return detect.ModeOff, false
}

// newLife is what names one life of gobgpd: it is lost with it.
func newLife() string {
	var b [8]byte
	rand.Read(b[:])
	return fmt.Sprintf("0:%d:%d", binary.BigEndian.Uint32(b[:]), binary.BigEndian.Uint32(b[4:]))
}

// neighbors are those of gobgpd.
type neighbors struct {
	takes     map[family]bool // by one or more that are connected
	connected int
	addresses []netip.Addr // of neighbours and of our ends
	graceful  string       // one with graceful restart
	server    string       // one that is a route server's client
}

func (t *Target) readNeighbors(ctx context.Context) (n neighbors, err error) {
	stream, err := t.api.ListPeer(ctx, &api.ListPeerRequest{})
	if err != nil {
		return n, failed("list peers", err)
	}
	n.takes = map[family]bool{}
	err = each("list peers", maxPeers, stream, func(m *api.ListPeerResponse) {
		p := m.GetPeer()
		name := p.GetConf().GetNeighborAddress()
		if name == "" {
			name = p.GetState().GetNeighborAddress()
		}
		for _, text := range []string{name, p.GetTransport().GetLocalAddress()} {
			if a, err := netip.ParseAddr(text); err == nil && !a.IsUnspecified() {
				n.addresses = append(n.addresses, a.WithZone("").Unmap())
			}
		}
		if p.GetGracefulRestart().GetEnabled() {
			n.graceful = name
		}
		if p.GetRouteServer().GetRouteServerClient() {
			n.server = name
		}
		if p.GetState().GetSessionState() != api.PeerState_ESTABLISHED {
			return
		}
		n.connected++
		both := map[family]int{}
		for i, list := range [][]*anypb.Any{p.GetState().GetLocalCap(), p.GetState().GetRemoteCap()} {
			for _, c := range list {
				var mp api.MultiProtocolCapability
				if c.UnmarshalTo(&mp) == nil {
					both[family{mp.GetFamily().GetAfi(), mp.GetFamily().GetSafi()}] |= 1 << i
				}
			}
		}
		for f, sides := range both {
			if sides == 3 {
				n.takes[f] = true
			}
		}
	})
	return n, err
}
