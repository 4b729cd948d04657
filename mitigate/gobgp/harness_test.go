package gobgp_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/gobgp"
	"offpath/mitigate/internal/targettest"
)

// daemon is a gobgpd.
type daemon struct {
	t      testing.TB
	config string
	apiAt  string // HOST:PORT, or unix://PATH
	cmd    *exec.Cmd
	// namespace of the network that it runs in; "": the test's
	namespace string
	service   api.GobgpApiClient
}

// pair is a gobgpd that offpath gives orders to, and its neighbour, of which is asked what
// has come to it.
type pair struct{ ours, neighbor *daemon }

func config(as int, id string, port int, other string, otherAS, otherPort int, passive bool, extra string, families ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `[global.config]
  as = %d
  router-id = %q
  port = %d
  local-address-list = [%q]
[[neighbors]]
  [neighbors.config]
    neighbor-address = %q
    peer-as = %d
  [neighbors.timers.config]
    connect-retry = 1
    idle-hold-time-after-reset = 1
    hold-time = 9
    keepalive-interval = 3
  [neighbors.transport.config]
    local-address = %q
    passive-mode = %t
    remote-port = %d
%s
`, as, id, port, id, other, otherAS, id, passive, otherPort, extra)
	for _, f := range families {
		fmt.Fprintf(&b, "  [[neighbors.afi-safis]]\n    [neighbors.afi-safis.config]\n      afi-safi-name = %q\n", f)
	}
	return b.String()
}

// newPair starts both, and waits until they are connected.
func newPair(t testing.TB, families ...string) *pair {
	t.Helper()
	if len(families) == 0 {
		families = []string{"ipv4-unicast", "ipv6-unicast", "ipv4-flowspec", "ipv6-flowspec"}
	}
	ports := targettest.FreePorts(t, 4)
	folder := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(folder, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	p := &pair{
		ours: &daemon{t: t, apiAt: fmt.Sprintf("127.0.0.1:%d", ports[0]),
			config: write("ours.conf", config(64512, "127.0.0.1", ports[1], "127.0.0.2", 64513, ports[3], false, "", families...))},
		neighbor: &daemon{t: t, apiAt: fmt.Sprintf("127.0.0.1:%d", ports[2]),
			config: write("neighbor.conf", config(64513, "127.0.0.2", ports[3], "127.0.0.1", 64512, ports[1], true, "", families...))},
	}
	p.neighbor.start()
	p.ours.start()
	p.ours.connected()
	return p
}

func (d *daemon) start() {
	d.t.Helper()
	args := []string{targettest.Program(d.t, "gobgpd"), "-f", d.config, "--api-hosts", d.apiAt, "--pprof-disable", "-p"}
	dial := "passthrough:///" + d.apiAt
	if socket, ok := strings.CutPrefix(d.apiAt, "unix://"); ok {
		dial = d.apiAt
		os.Remove(socket) // as the guide has systemd do it
	}
	if d.namespace != "" {
		args = append([]string{targettest.Program(d.t, "ip"), "netns", "exec", d.namespace}, args...)
	}
	d.cmd = exec.Command(args[0], args[1:]...)
	require.NoError(d.t, d.cmd.Start())
	cmd := d.cmd
	d.t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	if d.service == nil {
		conn, err := grpc.NewClient(dial, grpc.WithTransportCredentials(insecure.NewCredentials()))
		require.NoError(d.t, err)
		d.t.Cleanup(func() { conn.Close() })
		d.service = api.NewGobgpApiClient(conn)
	}
	targettest.Eventually(d.t, func() bool {
		_, err := d.service.GetBgp(d.t.Context(), &api.GetBgpRequest{}, grpc.WaitForReady(true))
		return err == nil
	}, func() string { return "gobgpd answers" })
}

// kill ends it as a crash does.
func (d *daemon) kill() {
	d.cmd.Process.Kill()
	d.cmd.Wait()
}

// connected waits until a session is established.
func (d *daemon) connected() {
	d.t.Helper()
	targettest.Eventually(d.t, func() bool {
		stream, err := d.service.ListPeer(d.t.Context(), &api.ListPeerRequest{})
		if err != nil {
			return false
		}
		m, err := stream.Recv()
		return err == nil && m.Peer.State.SessionState == api.PeerState_ESTABLISHED
	}, func() string { return "established" })
}

// cli runs gobgp as a person does.
func (d *daemon) cli(args ...string) string {
	d.t.Helper()
	_, port, _ := strings.Cut(d.apiAt, ":")
	out, err := exec.Command(targettest.Program(d.t, "gobgp"), append([]string{"-p", port}, args...)...).CombinedOutput()
	require.NoError(d.t, err, "gobgp %v: %s", args, out)
	return string(out)
}

var families = map[string]*api.Family{
	"ipv4":          {Afi: api.Family_AFI_IP, Safi: api.Family_SAFI_UNICAST},
	"ipv6":          {Afi: api.Family_AFI_IP6, Safi: api.Family_SAFI_UNICAST},
	"ipv4-flowspec": {Afi: api.Family_AFI_IP, Safi: api.Family_SAFI_FLOW_SPEC_UNICAST},
	"ipv6-flowspec": {Afi: api.Family_AFI_IP6, Safi: api.Family_SAFI_FLOW_SPEC_UNICAST},
}

// paths are those that it holds.
func (d *daemon) paths(family string) (list []*api.Path) {
	d.t.Helper()
	stream, err := d.service.ListPath(context.Background(), &api.ListPathRequest{TableType: api.TableType_GLOBAL, Family: families[family]})
	require.NoError(d.t, err)
	for {
		m, err := stream.Recv()
		if err != nil {
			return list
		}
		list = append(list, m.Destination.Paths...)
	}
}

// drops are the clients whose packets a router that believes what this gobgpd holds drops.
func (d *daemon) drops(method string) map[netip.Prefix]bool {
	d.t.Helper()
	drops := map[netip.Prefix]bool{}
	for _, f := range []string{"ipv4", "ipv6"} {
		if method == gobgp.FlowSpec {
			f += "-flowspec"
		}
		for _, p := range d.paths(f) {
			if client, ok := dropped(p); ok {
				drops[client] = true
			}
		}
	}
	return drops
}

// dropped reads a route as a router does: by its own lights, not ours.
func dropped(p *api.Path) (client netip.Prefix, ok bool) {
	discards := false
	for _, a := range p.Pattrs {
		var plain api.CommunitiesAttribute
		var extended api.ExtendedCommunitiesAttribute
		switch {
		case a.UnmarshalTo(&plain) == nil:
			discards = discards || slices.Contains(plain.Communities, 0xffff029a)
		case a.UnmarshalTo(&extended) == nil:
			for _, c := range extended.Communities {
				var rate api.TrafficRateExtended
				if c.UnmarshalTo(&rate) == nil {
					discards = rate.Rate == 0
				}
			}
		}
	}
	var prefix api.IPAddressPrefix
	var flow api.FlowSpecNLRI
	if p.Nlri.UnmarshalTo(&prefix) == nil {
		client = netip.MustParsePrefix(fmt.Sprintf("%s/%d", prefix.Prefix, prefix.PrefixLen))
	} else if p.Nlri.UnmarshalTo(&flow) == nil {
		for _, r := range flow.Rules {
			var f api.FlowSpecIPPrefix
			if r.UnmarshalTo(&f) == nil && f.Type == 2 {
				client = netip.MustParsePrefix(fmt.Sprintf("%s/%d", f.Prefix, f.PrefixLen))
			}
		}
	}
	return client, discards && client.IsValid()
}

// options of a target that gives orders to ours.
func (p *pair) options(method string) gobgp.Options {
	o := gobgp.Options{Name: "edge", Address: "tcp:" + p.ours.apiAt, Method: method, Capacity: 20_000}
	if method == gobgp.FlowSpec {
		o.Destinations = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8:ffff::/48")}
		o.Ports = []uint16{443, 80}
	} else {
		o.NextHops = []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("100::1")}
	}
	return o
}

func (p *pair) target(t testing.TB, method string) *gobgp.Target {
	t.Helper()
	return newTarget(t, p.options(method))
}

func newTarget(t testing.TB, o gobgp.Options) *gobgp.Target {
	t.Helper()
	target, err := gobgp.New(o)
	require.NoError(t, err)
	return target
}

// enforced is a target in mode enforce.
func (p *pair) enforced(t testing.TB, method string) *gobgp.Target {
	t.Helper()
	target := p.target(t, method)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	return target
}

// holds waits until the neighbour drops exactly these clients.
func (p *pair) holds(t testing.TB, method string, clients ...string) {
	t.Helper()
	want := map[netip.Prefix]bool{}
	for _, c := range clients {
		want[targettest.Network(c)] = true
	}
	var got map[netip.Prefix]bool
	targettest.Eventually(t, func() bool {
		got = p.neighbor.drops(method)
		if len(got) != len(want) {
			return false
		}
		for c := range want {
			if !got[c] {
				return false
			}
		}
		return true
	}, func() string { return fmt.Sprintf("%d clients dropped, not %d: %.300v", len(got), len(want), got) })
}

// balancer is a pair as a load balancer: a request passes if the neighbour, as a router,
// would let it. What it holds is read at most every 50 ms.
func (p *pair) balancer(t testing.TB, method string) *targettest.Balancer {
	backend := targettest.NewBackend(t)
	var mu sync.Mutex
	var read time.Time
	var drops map[netip.Prefix]bool
	ask := func(client string) (targettest.Answer, error) {
		mu.Lock()
		if took := time.Since(read); took > 50*time.Millisecond {
			drops, read = p.neighbor.drops(method), time.Now()
		}
		seen := drops
		mu.Unlock()
		a := netip.MustParseAddr(client)
		for bits := 1; bits <= a.BitLen(); bits++ {
			if p, _ := a.Prefix(bits); seen[p] {
				return targettest.Answer{}, errors.New("dropped")
			}
		}
		return targettest.Answer{Status: 200}, nil
	}
	return &targettest.Balancer{
		Backend: backend, Deaf: true, Ask: ask,
		Target: func(t testing.TB) mitigate.Target { return p.target(t, method) },
		Down:   func() { p.ours.kill() },
		Up:     func() { p.ours.start(); p.ours.connected() },
	}
}

func entry(id uint64, client string, change ...func(*mitigate.Entry)) mitigate.Entry {
	e := mitigate.Entry{
		ID: mitigate.ID(1<<32 | id), Action: detect.ActionBlock, Subject: detect.Subject{Client: targettest.Network(client)},
		Expires: time.Now().Add(time.Hour).Unix(),
	}
	for _, f := range change {
		f(&e)
	}
	return e
}
