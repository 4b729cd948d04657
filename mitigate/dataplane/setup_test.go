package dataplane_test

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

	"offpath/mitigate/dataplane"
	"offpath/mitigate/haproxy"
	"offpath/mitigate/internal/haproxytest"
)

func TestPrintedSetupIsAcceptedByHAProxyWithoutAWarning(t *testing.T) {
	program := haproxytest.Program(t)
	for name, setup := range map[string]dataplane.Setup{
		"as it comes": {},
		"behind proxies": {
			TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")},
			ClientHeader:   "CF-Connecting-IP",
		},
		"deception and tarpit":  {Deception: &haproxy.Deception{Status: 200, Type: "text/html; charset=utf-8"}, Tarpit: 1500 * time.Millisecond},
		"ignored header fields": {IgnoreHeaders: []string{"accept-charset", "sec-ch-ua"}},
	} {
		t.Run(name, func(t *testing.T) {
			setup.MapDir = t.TempDir()
			config, err := setup.Render()
			require.NoError(t, err)
			for _, file := range config.Files {
				require.NoError(t, os.WriteFile(file, nil, 0o600))
			}
			require.NoError(t, os.WriteFile(config.ScriptFile, []byte(config.Script), 0o600))
			if config.DeceptionFile != "" {
				require.NoError(t, os.WriteFile(config.DeceptionFile, []byte("no"), 0o600))
				assert.Contains(t, config.Header, config.DeceptionFile)
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
	config, err := dataplane.Setup{}.Render()
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
	assert.Len(t, config.Files, 5)
	for line := range strings.Lines(config.Header) {
		assert.True(t, strings.HasPrefix(line, "#"), "%q", line)
	}
	assert.NotContains(t, b.String(), "<no value>")
	assert.NotContains(t, config.Rules, "req.hdr_ip", "nobody is trusted")
}

func TestAChangeOfRulesOrScriptIsAnotherVersion(t *testing.T) {
	config, err := dataplane.Setup{}.Render()
	require.NoError(t, err)
	sum := sha256.Sum256([]byte(config.Sections + config.Rules + config.Script))
	assert.Equal(t, "d4452d643b5a1a29", hex.EncodeToString(sum[:8]),
		"what is printed has changed: if HAProxy does other things with what is written to it, raise the number of setupTable; then put the new sum here")
}

func TestSetupRefusesWhatWouldBeMisread(t *testing.T) {
	for _, tt := range []struct {
		name  string
		setup dataplane.Setup
		quote string
	}{
		{"address", dataplane.Setup{Address: "lb1"}, `"lb1"`},
		{"address with a password to be seen", dataplane.Setup{Address: "http://lb1"}, "would show the password"},
		{"map folder with a space", dataplane.Setup{MapDir: "/etc/my maps"}, `"/etc/my maps"`},
		{"name with a new line", dataplane.Setup{Name: "lb\n"}, `"lb\n"`},
		{"user with a quote", dataplane.Setup{User: "a'b"}, `"a'b"`},
		{"header with a bracket", dataplane.Setup{ClientHeader: "x,y)"}, `"x,y)"`},
		{"ignored header", dataplane.Setup{IgnoreHeaders: []string{"accept extra"}}, `"accept extra"`},
		{"a deception's status", dataplane.Setup{Deception: &haproxy.Deception{Status: 101}}, "101"},
		{"network", dataplane.Setup{TrustedProxies: []netip.Prefix{{}}}, "invalid Prefix"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tt.setup.Render()
			assert.ErrorContains(t, err, tt.quote)
		})
	}
}

func TestOptionsOfATargetAreChecked(t *testing.T) {
	for name, o := range map[string]dataplane.Options{
		"nothing":            {},
		"no user":            {Address: "https://lb1", Password: password},
		"no password":        {Address: "https://lb1", User: "u"},
		"a user of two":      {Address: "https://lb1", User: "u:v", Password: password},
		"no scheme":          {Address: "lb1", User: "u", Password: password},
		"a path":             {Address: "https://lb1/v3", User: "u", Password: password},
		"a password to see":  {Address: "http://192.0.2.1:5555", User: "u", Password: password},
		"a relative folder":  {Address: "https://lb1", User: "u", Password: password, MapDir: "maps"},
		"a folder of orders": {Address: "https://lb1", User: "u", Password: password, MapDir: "/a;b"},
		"version 1":          {Address: "https://lb1", User: "u", Password: password, Version: 1},
		"negative time":      {Address: "https://lb1", User: "u", Password: password, Timeout: -1},
		"negative capacity":  {Address: "https://lb1", User: "u", Password: password, Capacity: -1},
	} {
		_, err := dataplane.New(o)
		assert.Error(t, err, name)
	}
	target, err := dataplane.New(dataplane.Options{Address: "https://192.0.2.1:5555/", User: "u", Password: password})
	require.NoError(t, err)
	assert.Equal(t, "https://192.0.2.1:5555/", target.Name())
	assert.Equal(t, []netip.Addr{netip.MustParseAddr("192.0.2.1")}, target.Addresses())
	assert.Equal(t, dataplane.DefaultCapacity, target.Capacity())
}
