package gobgp_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/controller"
	"offpath/mitigate/gobgp"
	"offpath/mitigate/internal/targettest"
)

// Clients of the network behind the router, and the site in front of it.
const (
	blocked4, other4, site4 = "198.18.0.7", "198.18.0.8", "198.51.100.2"
	blocked6, other6, site6 = "2001:db8:1::7", "2001:db8:1::8", "2001:db8:ffff::2"
)

// network is three network namespaces: clients, a router, and a site with a server of HTTP
// and our gobgpd. The router is Linux, and BIRD its BGP: what gobgpd announces gets into the
// kernel's routing table, and requests show what it does there.
type network struct {
	t                     testing.TB
	clients, router, site string
	ours                  *daemon
	control               string // BIRD's socket
	config                string
	bird                  *exec.Cmd
	packets               net.PacketConn // UDP at the site
}

var networks atomic.Uint32

func newNetwork(t testing.TB) *network {
	t.Helper()
	ip, nft := targettest.Program(t, "ip"), targettest.Program(t, "nft")
	targettest.Program(t, "bird")
	targettest.Program(t, "gobgpd")
	if os.Getuid() != 0 {
		targettest.Absent(t, "network namespaces need root")
	}
	must := func(args ...string) {
		t.Helper()
		out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		require.NoError(t, err, "%v: %s", args, out)
	}
	name := fmt.Sprintf("offpath-bgp-%d-%d-", os.Getpid(), networks.Add(1))
	n := &network{t: t, clients: name + "clients", router: name + "router", site: name + "site"}
	for _, ns := range []string{n.clients, n.router, n.site} {
		must(ip, "netns", "add", ns)
		t.Cleanup(func() { exec.Command(ip, "netns", "del", ns).Run() })
		must(ip, "-n", ns, "link", "set", "lo", "up")
	}
	// One side of each link is the router's.
	for _, l := range []struct{ ns, device, gateway4, gateway6 string }{
		{n.clients, "clients", "198.18.0.1", "2001:db8:1::1"},
		{n.site, "site", "198.51.100.1", "2001:db8:ffff::1"},
	} {
		must(ip, "-n", n.router, "link", "add", l.device, "type", "veth", "peer", "name", "up", "netns", l.ns)
		must(ip, "-n", n.router, "address", "add", l.gateway4+"/24", "dev", l.device)
		must(ip, "-n", n.router, "address", "add", l.gateway6+"/64", "dev", l.device, "nodad")
		must(ip, "-n", n.router, "link", "set", l.device, "up")
		own := []string{site4 + "/24", site6 + "/64"}
		if l.ns == n.clients {
			own = []string{blocked4 + "/24", other4 + "/24", blocked6 + "/64", other6 + "/64"}
		}
		for _, a := range own {
			args := []string{ip, "-n", l.ns, "address", "add", a, "dev", "up"}
			if strings.Contains(a, ":") {
				args = append(args, "nodad")
			}
			must(args...)
		}
		must(ip, "-n", l.ns, "link", "set", "dev", "up", "up")
		must(ip, "-n", l.ns, "route", "add", "default", "via", l.gateway4)
		must(ip, "-n", l.ns, "-6", "route", "add", "default", "via", l.gateway6)
	}
	must(ip, "netns", "exec", n.router, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
	n.reversePathChecks(2)
	// For IPv6 Linux has no such setting; its packet filter has.
	must(ip, "netns", "exec", n.router, nft, "table ip6 reverse { chain paths { type filter hook prerouting priority raw; "+n.reversePathRule()+"; }; }")

	folder := t.TempDir()
	n.serve()
	n.control, n.config = filepath.Join(folder, "bird.ctl"), filepath.Join(folder, "bird.conf")
	require.NoError(t, os.WriteFile(n.config, []byte(birdConfig), 0o600))
	n.startBIRD()
	socket := filepath.Join(folder, "gobgpd.sock")
	ours := filepath.Join(folder, "gobgpd.conf")
	require.NoError(t, os.WriteFile(ours, []byte(config(64512, site4, 179, "198.51.100.1", 64513, 179, false, "",
		"ipv4-unicast", "ipv6-unicast", "ipv4-flowspec", "ipv6-flowspec")), 0o600))
	n.ours = &daemon{t: t, config: ours, apiAt: "unix://" + socket, namespace: n.site}
	n.ours.start()
	n.ours.connected()
	n.answered(blocked4, other4, blocked6, other6)
	return n
}

// birdConfig is the router's: what has the community BLACKHOLE and the next hop agreed upon
// becomes a blackhole, and nothing else is taken. FlowSpec it takes, and holds: neither it
// nor the kernel acts on that.
const birdConfig = `router id 198.51.100.1;
flow4 table flow4tab;
flow6 table flow6tab;
filter blackholes {
	if (65535, 666) !~ bgp_community then reject;
	if net.type = NET_IP4 && bgp_next_hop != 192.0.2.1 then reject;
	if net.type = NET_IP6 && bgp_next_hop != 100::1 then reject;
	dest = RTD_BLACKHOLE;
	accept;
}
protocol device { }
protocol kernel kernel4 { ipv4 { import none; export where source = RTS_BGP; }; }
protocol kernel kernel6 { ipv6 { import none; export where source = RTS_BGP; }; }
protocol bgp offpath {
	local 198.51.100.1 as 64513;
	neighbor 198.51.100.2 as 64512;
	passive on;
	error wait time 1, 2;
	ipv4 { gateway recursive; import filter blackholes; export none; };
	ipv6 { gateway recursive; import filter blackholes; export none; };
	flow4 { table flow4tab; validate off; import all; export none; };
	flow6 { table flow6tab; validate off; import all; export none; };
}
`

// reversePathRule is what the guide gives for IPv6.
func (n *network) reversePathRule() string {
	n.t.Helper()
	c, err := gobgp.Setup{Method: gobgp.RTBH}.Render()
	require.NoError(n.t, err)
	rule := regexp.MustCompile(`(?m)^#\s+(ip6 .* drop)$`).FindStringSubmatch(c.Guide)
	require.NotNil(n.t, rule, "%s", c.Guide)
	return rule[1]
}

// reversePathChecks of the router: 0 none, 2 loose (RFC 3704 §2.4).
func (n *network) reversePathChecks(mode int) {
	n.t.Helper()
	out, err := exec.Command(targettest.Program(n.t, "ip"), "netns", "exec", n.router, "sysctl", "-q", "-w",
		fmt.Sprintf("net.ipv4.conf.all.rp_filter=%d", mode), fmt.Sprintf("net.ipv4.conf.clients.rp_filter=%d", mode)).CombinedOutput()
	require.NoError(n.t, err, "%s", out)
}

func (n *network) startBIRD() {
	n.t.Helper()
	cmd := exec.Command(targettest.Program(n.t, "ip"), "netns", "exec", n.router,
		targettest.Program(n.t, "bird"), "-f", "-c", n.config, "-s", n.control)
	cmd.Stderr = os.Stderr
	require.NoError(n.t, cmd.Start())
	n.bird = cmd
	n.t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
}

// ask asks BIRD as a person does.
func (n *network) ask(args ...string) string {
	n.t.Helper()
	out, err := exec.Command(targettest.Program(n.t, "birdc"), append([]string{"-r", "-s", n.control}, args...)...).CombinedOutput()
	require.NoError(n.t, err, "%s", out)
	return string(out)
}

// inside calls f in a namespace: sockets that it opens are there for good. The thread is not
// used again.
func inside(namespace string, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- func() error {
			ns, err := os.Open("/run/netns/" + namespace)
			if err != nil {
				return err
			}
			defer ns.Close()
			if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
				return err
			}
			return f()
		}()
	}()
	return <-done
}

// serve answers requests at the site.
func (n *network) serve() {
	n.t.Helper()
	var listener net.Listener
	require.NoError(n.t, inside(n.site, func() (err error) {
		if listener, err = net.Listen("tcp", ":80"); err != nil {
			return err
		}
		n.packets, err = net.ListenPacket("udp4", site4+":9")
		return err
	}))
	server := &http.Server{Handler: targettest.NewBackend(n.t)}
	go server.Serve(listener)
	n.t.Cleanup(func() { server.Close(); n.packets.Close() })
}

// gets is whether a client is answered within a time.
func (n *network) gets(client string, within time.Duration) bool {
	from := netip.MustParseAddr(client)
	site := site4
	if from.Is6() {
		site = site6
	}
	var conn net.Conn
	if err := inside(n.clients, func() (err error) {
		dialer := net.Dialer{Timeout: within, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
		conn, err = dialer.Dial("tcp", net.JoinHostPort(site, "80"))
		return err
	}); err != nil {
		return false
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(within))
	if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", "site.example"); err != nil {
		return false
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// answered waits until each client is.
func (n *network) answered(clients ...string) {
	n.t.Helper()
	for _, c := range clients {
		targettest.Eventually(n.t, func() bool { return n.gets(c, time.Second) }, func() string { return c + " is answered" })
	}
}

// refused waits until each client is not answered, and asks that it stays so.
func (n *network) refused(clients ...string) {
	n.t.Helper()
	for _, c := range clients {
		targettest.Eventually(n.t, func() bool { return !n.gets(c, 500*time.Millisecond) }, func() string { return c + " is not answered" })
		assert.False(n.t, n.gets(c, 1500*time.Millisecond), "%s is answered", c)
	}
}

// arrives is whether what a client sends gets to the site.
func (n *network) arrives(client string) bool {
	n.t.Helper()
	require.NoError(n.t, inside(n.clients, func() error {
		conn, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.ParseIP(client)}, &net.UDPAddr{IP: net.ParseIP(site4), Port: 9})
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = conn.Write([]byte(client))
		return err
	}))
	n.packets.SetReadDeadline(time.Now().Add(time.Second))
	buf := make([]byte, 64)
	for {
		size, _, err := n.packets.ReadFrom(buf)
		if err != nil {
			return false
		}
		if string(buf[:size]) == client {
			return true
		}
	}
}

func (n *network) target(t testing.TB, method string) *gobgp.Target {
	p := pair{ours: n.ours}
	o := p.options(method)
	o.Address = strings.Replace(n.ours.apiAt, "unix://", "unix:", 1)
	return newTarget(t, o)
}

func (n *network) enforced(t testing.TB) *gobgp.Target {
	t.Helper()
	target := n.target(t, gobgp.RTBH)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	return target
}

func TestARouterDropsWhatABlockedClientSendsAndNoOthers(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	target := n.enforced(t)
	require.NoError(t, target.Prepared(t.Context()))
	four, six := entry(1, blocked4), entry(2, blocked6)
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{four, six}, nil))
	n.refused(blocked4, blocked6)
	n.answered(other4, other6)
	targettest.Eventually(t, func() bool { return n.arrives(other4) }, func() string { return "a datagram arrives" })
	assert.False(t, n.arrives(blocked4), "it is the client's packets that are dropped")

	n.reversePathChecks(0)
	targettest.Eventually(t, func() bool { return n.arrives(blocked4) }, func() string { return "without reverse path checks they arrive" })
	n.refused(blocked4)
	n.answered(other4)
	n.reversePathChecks(2)

	require.NoError(t, target.Apply(t.Context(), nil, []detect.Subject{four.Subject, six.Subject}))
	n.answered(blocked4, blocked6, other4, other6)
}

func TestARouterServesAgainWhoIsNoLongerToBeBlocked(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	target := n.target(t, gobgp.RTBH)
	entries := []mitigate.Entry{entry(1, blocked4), entry(2, blocked6)}
	require.NoError(t, target.SetMode(t.Context(), detect.ModeMonitor, false))
	_, err := target.Sync(t.Context(), entries)
	require.NoError(t, err)
	n.answered(blocked4, blocked6, other4)
	assert.NotContains(t, n.ask("show", "route"), "blackhole", "what is only watched is not announced")

	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	n.refused(blocked4, blocked6)
	n.answered(other4, other6)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeOff, false))
	n.answered(blocked4, blocked6, other4)

	// gobgpd ends with offpath where the unit says BindsTo=: the session closes.
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	n.refused(blocked4, blocked6)
	n.ours.kill()
	n.answered(blocked4, blocked6, other4)
}

func TestRestartsOfGoBGPAndOfTheRouterKeepNobodyOutWhoIsNotBlocked(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	c, _ := targettest.Running(t, controller.Config{Targets: []mitigate.Target{n.target(t, gobgp.RTBH)}, Mode: detect.ModeEnforce})
	v := targettest.Block(1, blocked4)
	require.NoError(t, c.Apply(v))
	n.refused(blocked4)
	n.ours.kill()
	n.answered(blocked4, other4)
	n.ours.start()
	n.refused(blocked4)
	n.answered(other4)

	require.NoError(t, n.bird.Process.Signal(syscall.SIGTERM))
	n.bird.Wait()
	n.answered(blocked4, other4)
	n.startBIRD()
	n.refused(blocked4)
	n.answered(other4)

	require.NoError(t, c.Lift(v.ID, "alice"))
	n.answered(blocked4, other4)
	short := targettest.Block(2, other4)
	short.Expires = time.Now().Add(15 * time.Second).UnixNano()
	require.NoError(t, c.Apply(short))
	n.refused(other4)
	n.answered(blocked4, other4)
	assert.GreaterOrEqual(t, time.Now().UnixNano(), short.Expires-int64(time.Second), "it ended by itself, not before")
}

func TestTenThousandBlocksAtARouterHitNobodyElse(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	target := n.enforced(t)
	entries := []mitigate.Entry{entry(1, blocked4), entry(2, blocked6)}
	for i := uint64(len(entries)); i < 10_000; i++ {
		entries = append(entries, entry(i+1, netip.AddrFrom4([4]byte{198, 19, byte(i >> 8), byte(i)}).String()))
	}
	_, err := target.Sync(t.Context(), entries)
	require.NoError(t, err)
	targettest.Eventually(t, func() bool {
		out, err := exec.Command(targettest.Program(t, "ip"), "-n", n.router, "route", "show", "type", "blackhole").Output()
		return err == nil && strings.Count(string(out), "blackhole") == len(entries)-1
	}, func() string { return "the kernel has all of IPv4" })
	n.refused(blocked4, blocked6)
	n.answered(other4, other6)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeOff, false))
	n.answered(blocked4, blocked6, other4, other6)
}

// No free router acts on FlowSpec by itself; BIRD reads it, and is a second implementation
// beside gobgpd.
func TestBIRDTakesTheRulesOfFlowSpec(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	target := n.target(t, gobgp.FlowSpec)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	entries := []mitigate.Entry{entry(1, blocked4), entry(2, "2001:db8:1::/48")}
	require.NoError(t, target.Apply(t.Context(), entries, nil))
	var four, six string
	targettest.Eventually(t, func() bool {
		four, six = n.ask("show", "route", "table", "flow4tab", "all"), n.ask("show", "route", "table", "flow6tab", "all")
		return strings.Contains(four, blocked4) && strings.Contains(six, "2001:db8:1::/48")
	}, func() string { return four + six })
	assert.Contains(t, four, "flow4 { dst 198.51.100.0/24; src 198.18.0.7/32; proto 6,17; dport 80,443; }")
	assert.Contains(t, six, "flow6 { dst 2001:db8:ffff::/48; src 2001:db8:1::/48; next header 6,17; dport 80,443; }")
	assert.Contains(t, four, "(generic, 0x80060000, 0x0)", "traffic-rate 0")
	require.NoError(t, target.Apply(t.Context(), nil, []detect.Subject{entries[0].Subject, entries[1].Subject}))
	targettest.Eventually(t, func() bool {
		return !strings.Contains(n.ask("show", "route", "table", "flow4tab"), blocked4)
	}, func() string { return "withdrawn" })
}
