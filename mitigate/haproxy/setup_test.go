package haproxy_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/mitigate/haproxy"
	"offpath/mitigate/internal/haproxytest"
)

func TestPrintedSetupIsAcceptedByHAProxyWithoutAWarning(t *testing.T) {
	program := haproxytest.Program(t)
	tests := []struct {
		name  string
		setup haproxy.Setup
	}{
		{"as it comes", haproxy.Setup{}},
		{"TCP socket", haproxy.Setup{Address: "tcp:127.0.0.1:9999"}},
		{"the master's socket", haproxy.Setup{Address: "master:/run/haproxy-master.sock"}},
		{"TCP socket on IPv6", haproxy.Setup{Address: "tcp:[::1]:9999"}},
		{"behind proxies", haproxy.Setup{
			TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")},
			ClientHeader:   "CF-Connecting-IP",
		}},
		{"other counters, names and sizes", haproxy.Setup{Counters: [2]int{0, 2}, PeerName: "lb-2.example", PeerAddress: "[::1]:1024", TableSize: "200k"}},
		{"peers", haproxy.Setup{PeerAddress: "127.0.0.1:10078", Peers: []haproxy.Peer{{Name: "lb2", Address: "127.0.0.1:10079"}, {Name: "lb3", Address: "[::1]:10077"}}}},
		{"deception and tarpit", haproxy.Setup{Deception: &haproxy.Deception{Status: 200, Type: "text/html; charset=utf-8"}, Tarpit: 1500 * time.Millisecond}},
		{"ignored header fields", haproxy.Setup{IgnoreHeaders: []string{"accept-charset", "sec-ch-ua"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.setup.MapDir = t.TempDir()
			config, err := tt.setup.Render()
			require.NoError(t, err)
			for _, file := range config.Files {
				require.NoError(t, os.WriteFile(file, nil, 0o600))
			}
			require.NoError(t, os.WriteFile(config.ScriptFile, []byte(config.Script), 0o600))
			if config.DeceptionFile != "" {
				require.NoError(t, os.WriteFile(config.DeceptionFile, []byte("no"), 0o600))
			}
			path := filepath.Join(t.TempDir(), "haproxy.cfg")
			text := "global\n" + config.Global + "defaults\n mode http\n timeout connect 1s\n timeout client 1s\n timeout server 1s\n" +
				config.Sections + "frontend f\n bind 127.0.0.1:8080\n" + config.Rules
			require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
			out, err := exec.Command(program, "-c", "-f", path).CombinedOutput()
			require.NoError(t, err, "%s", out)
			assert.NotContains(t, string(out), "WARNING")
		})
	}
}

func TestPrintedSetupTellsAnOperatorEverything(t *testing.T) {
	config, err := haproxy.Setup{}.Render()
	require.NoError(t, err)
	var b bytes.Buffer
	n, err := config.WriteTo(&b)
	require.NoError(t, err)
	assert.EqualValues(t, b.Len(), n)
	for _, part := range []string{config.Header, config.Global, config.Sections, config.Rules, config.Script} {
		assert.NotEmpty(t, part)
		assert.Contains(t, b.String(), part)
	}
	for _, file := range append(config.Files, config.ScriptFile) {
		assert.Contains(t, config.Header, file)
	}
	assert.Len(t, config.Files, 3)
	for line := range strings.Lines(config.Header) {
		assert.True(t, strings.HasPrefix(line, "#"), "%q", line)
	}
	assert.NotContains(t, b.String(), "<no value>")
	assert.NotContains(t, config.Rules, "req.hdr_ip", "nobody is trusted")
}

func TestAChangeOfRulesOrScriptIsAnotherVersion(t *testing.T) {
	config, err := haproxy.Setup{}.Render()
	require.NoError(t, err)
	sum := sha256.Sum256([]byte(config.Sections + config.Rules + config.Script))
	assert.Equal(t, "288a3b4363cc29c5", hex.EncodeToString(sum[:8]),
		"what is printed has changed: if HAProxy does other things with what is written to it, raise the number of setupTable; then put the new sum here")
}

func TestSetupRefusesWhatHAProxyWouldMisread(t *testing.T) {
	tests := []struct {
		name  string
		setup haproxy.Setup
		quote string
	}{
		{"address", haproxy.Setup{Address: "admin.sock"}, `"admin.sock"`},
		{"map folder with a space", haproxy.Setup{MapDir: "/etc/my maps"}, `"/etc/my maps"`},
		{"name with a new line", haproxy.Setup{PeerName: "lb\n"}, `"lb\n"`},
		{"peer address", haproxy.Setup{PeerAddress: "127.0.0.1"}, `"127.0.0.1"`},
		{"a peer's address", haproxy.Setup{Peers: []haproxy.Peer{{Name: "lb2", Address: "10.0.0.2"}}}, `"10.0.0.2"`},
		{"a peer of the same name", haproxy.Setup{Peers: []haproxy.Peer{{Name: "lb1", Address: "10.0.0.2:10077"}}}, "two peers"},
		{"a peer's name with a new line", haproxy.Setup{Peers: []haproxy.Peer{{Name: "lb2\n", Address: "10.0.0.2:10077"}}}, `"lb2\n"`},
		{"header with a bracket", haproxy.Setup{ClientHeader: "x,y)"}, `"x,y)"`},
		{"table size", haproxy.Setup{TableSize: "1m expire 1s"}, `"1m expire 1s"`},
		{"the same counter twice", haproxy.Setup{Counters: [2]int{2, 2}}, "2 and 2"},
		{"counter", haproxy.Setup{Counters: [2]int{-1, 2}}, "-1 and 2"},
		{"ignored header", haproxy.Setup{IgnoreHeaders: []string{"accept extra"}}, `"accept extra"`},
		{"a deception's status", haproxy.Setup{Deception: &haproxy.Deception{Status: 101}}, "101"},
		{"a deception's type", haproxy.Setup{Deception: &haproxy.Deception{Status: 200, Type: "text/html\" if"}}, "no media type"},
		{"tarpit", haproxy.Setup{Tarpit: 2 * time.Minute}, "2m0s"},
		{"tarpit that holds nobody", haproxy.Setup{TarpitConnections: -1}, "-1"},
		{"network", haproxy.Setup{TrustedProxies: []netip.Prefix{{}}}, "invalid Prefix"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tt.setup.Render()
			assert.ErrorContains(t, err, tt.quote)
		})
	}
}

func TestOptionsOfATargetAreChecked(t *testing.T) {
	for _, o := range []haproxy.Options{
		{},
		{Address: "admin.sock"},
		{Address: "unix:/a", MapDir: "relative"},
		{Address: "unix:/a", MapDir: "/a;b"},
		{Address: "unix:/a", Timeout: -1},
		{Address: "unix:/a", Capacity: -1},
		{Address: "unix:/a", CompareLimit: 1_000_000},
	} {
		_, err := haproxy.New(o)
		assert.Error(t, err, "%+v", o)
	}
	target, err := haproxy.New(haproxy.Options{Address: "tcp:192.0.2.1:9999"})
	require.NoError(t, err)
	assert.Equal(t, "tcp:192.0.2.1:9999", target.Name())
	assert.Equal(t, []netip.Addr{netip.MustParseAddr("192.0.2.1")}, target.Addresses())
}
