package crowdsec_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/controller"
	"offpath/mitigate/internal/targettest"
)

// TestPacketsOfBlockedClientsAreDroppedByTheFirewallBouncer has a network namespace whose
// kernel crowdsec-firewall-bouncer fills by nftables, and asks whether packets get in.
func TestPacketsOfBlockedClientsAreDroppedByTheFirewallBouncer(t *testing.T) {
	program := targettest.Program(t, "crowdsec-firewall-bouncer")
	ip := targettest.Program(t, "ip")
	targettest.Program(t, "nft")
	if os.Getuid() != 0 {
		targettest.Absent(t, "network namespaces need root")
	}
	// The bouncer is in the namespace, and reaches the target over the link from outside:
	// clients are addresses of this side of it.
	name := fmt.Sprintf("offpath-cs-%d", os.Getpid())
	link, peer := fmt.Sprintf("opc%d", os.Getpid()%100000), fmt.Sprintf("opd%d", os.Getpid()%100000)
	must := func(args ...string) {
		t.Helper()
		out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		require.NoError(t, err, "%v: %s", args, out)
	}
	must(ip, "netns", "add", name)
	t.Cleanup(func() { exec.Command(ip, "netns", "del", name).Run() })
	must(ip, "link", "add", link, "type", "veth", "peer", "name", peer, "netns", name)
	t.Cleanup(func() { exec.Command(ip, "link", "del", link).Run() })
	must(ip, "address", "add", "198.18.77.1/24", "dev", link)
	for _, client := range []string{"198.18.77.2", "198.18.77.3"} {
		must(ip, "address", "add", client+"/24", "dev", link)
	}
	must(ip, "link", "set", link, "up")
	must(ip, "-n", name, "address", "add", "198.18.77.100/24", "dev", peer)
	must(ip, "-n", name, "link", "set", peer, "up")
	must(ip, "-n", name, "link", "set", "lo", "up")

	// In the namespace a socket of the target's is as near as in any other.
	folder := t.TempDir()
	port := targettest.FreePorts(t, 1)[0]
	target := newTarget(t, port, "")
	relay := exec.Command(ip, "netns", "exec", name, "python3", "-c", relayProgram, filepath.Join(folder, "lapi.sock"))
	relay.Stderr = os.Stderr
	outside := exec.Command("python3", "-c", outsideProgram, filepath.Join(folder, "lapi.sock"), fmt.Sprint(port))
	outside.Stderr = os.Stderr
	web := exec.Command(ip, "netns", "exec", name, "python3", "-m", "http.server", "9000", "--directory", folder)
	for _, c := range []*exec.Cmd{outside, relay, web} {
		require.NoError(t, c.Start())
		t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	}
	config := filepath.Join(folder, "bouncer.yaml")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, `mode: nftables
pid_dir: %s
update_frequency: 1s
daemonize: false
log_mode: stdout
log_level: info
api_url: http://127.0.0.1:8080/
api_key: %s
disable_ipv6: false
deny_action: DROP
supported_decisions_types: [ban]
nftables:
  ipv4: {enabled: true, set-only: false, table: crowdsec, chain: crowdsec-chain}
  ipv6: {enabled: true, set-only: false, table: crowdsec6, chain: crowdsec6-chain}
prometheus: {enabled: false}
`, folder, apiKey), 0o600))
	up, _ := supervise(t, func() *exec.Cmd { return exec.Command(ip, "netns", "exec", name, program, "-c", config) })

	c, _ := targettest.Running(t, controller.Config{Targets: []mitigate.Target{target}, Mode: detect.ModeEnforce, MaxPerMinute: 1 << 20})
	up()
	targettest.Eventually(t, func() bool { s := c.Targets()[0]; return s.Connected && s.Mode == detect.ModeEnforce }, func() string { return c.Targets()[0].LastError })

	// A client is answered, or its packets were dropped.
	gets := func(client string) bool {
		_, err := targettest.TryGetWithin(time.Second, client, "http://198.18.77.100:9000/")
		return err == nil
	}
	targettest.Eventually(t, func() bool { return gets("198.18.77.2") }, func() string { return "answered" })
	v := targettest.Block(1, "198.18.77.2")
	six := targettest.Block(2, "2001:db8::2")
	require.NoError(t, c.Apply(v))
	require.NoError(t, c.Apply(six))
	require.NoError(t, c.Apply(targettest.Block(4, "203.0.113.0/24")))
	targettest.Eventually(t, func() bool { return !gets("198.18.77.2") }, func() string { return "dropped" })
	assert.True(t, gets("198.18.77.3"))
	targettest.Eventually(t, func() bool { return c.Targets()[0].InForce == 3 }, func() string { return "in force" })
	rules, err := exec.Command(ip, "netns", "exec", name, "nft", "list", "ruleset").Output()
	require.NoError(t, err)
	assert.Contains(t, string(rules), "198.18.77.2 timeout", "it ends by the kernel's clock")
	assert.Equal(t, 1, strings.Count(string(rules), "2001:db8::2 timeout"))
	assert.Contains(t, string(rules), "203.0.113.0 timeout", "of a network it takes the first address")

	require.NoError(t, c.Lift(v.ID, "alice"))
	targettest.Eventually(t, func() bool { return gets("198.18.77.2") }, func() string { return "lifted" })
	again := targettest.Block(3, "198.18.77.3")
	require.NoError(t, c.Apply(again))
	targettest.Eventually(t, func() bool { return !gets("198.18.77.3") }, func() string { return "dropped after others were taken back" })
	require.NoError(t, c.Off("alice"))
	targettest.Eventually(t, func() bool { return gets("198.18.77.3") }, func() string { return "off" })
}

// outsideProgram hands connections of a unix socket on to a port, relayProgram those of a
// port to the socket: a path between two network namespaces that no packet filter is on.
const (
	handOn = `
import os, socket, sys, threading
def copy(a, b):
    try:
        while True:
            data = a.recv(65536)
            if not data: break
            b.sendall(data)
    except OSError: pass
    finally:
        for s in (a, b):
            try: s.shutdown(socket.SHUT_RDWR)
            except OSError: pass
def serve(listener, connect):
    listener.listen(64)
    while True:
        a, _ = listener.accept()
        try: b = connect()
        except OSError:
            a.close()
            continue
        for x, y in ((a, b), (b, a)): threading.Thread(target=copy, args=(x, y), daemon=True).start()
`
	outsideProgram = handOn + `
l = socket.socket(socket.AF_UNIX)
l.bind(sys.argv[1])
serve(l, lambda: socket.create_connection(("127.0.0.1", int(sys.argv[2]))))
`
	relayProgram = handOn + `
def connect():
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    return s
l = socket.socket()
l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
l.bind(("127.0.0.1", 8080))
serve(l, connect)
`
)
