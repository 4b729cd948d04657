package nginx_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/mitigate/internal/nginxtest"
	"offpath/mitigate/nginx"
)

func TestPrintedSetupIsAcceptedByNginxWithoutAWarning(t *testing.T) {
	for _, tt := range []struct {
		name     string
		setup    nginx.Setup
		endpoint string
	}{
		{"as it comes", nginx.Setup{}, "tcp"},
		{"unix socket", nginx.Setup{}, "unix"},
		{"TLS", nginx.Setup{}, "https"},
		{"behind proxies", nginx.Setup{
			TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/33")},
			ClientHeader:   "CF-Connecting-IP",
		}, "tcp"},
		{"ignored header fields", nginx.Setup{IgnoreHeaders: []string{"accept-charset", "sec-ch-ua"}}, "tcp"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := nginxtest.New(t, tt.setup, nginxtest.Options{Endpoint: tt.endpoint})
			out, err := s.Check()
			require.NoError(t, err, out)
			assert.NotContains(t, out, "warn")
			s.Up()
			require.NoError(t, s.Target(t).Prepared(t.Context()))
			assert.NotContains(t, s.Log(), "[error]")
		})
	}
}

func TestPrintedSetupTellsAnOperatorEverything(t *testing.T) {
	for _, address := range []string{"", "unix:/run/offpath/nginx.sock", "https://192.0.2.1:9180"} {
		config, err := nginx.Setup{Address: address}.Render()
		require.NoError(t, err)
		var b bytes.Buffer
		n, err := config.WriteTo(&b)
		require.NoError(t, err)
		assert.EqualValues(t, b.Len(), n)
		for _, part := range []string{config.Header, config.HTTP, config.Rules, config.Script} {
			assert.NotEmpty(t, part)
			assert.Contains(t, b.String(), part)
		}
		for _, file := range []string{config.HTTPFile, config.RulesFile, config.ScriptFile, config.TokenFile} {
			assert.Contains(t, config.Header, file)
		}
		for line := range strings.Lines(config.Header) {
			assert.True(t, strings.HasPrefix(line, "#"), "%q", line)
		}
		assert.NotContains(t, b.String(), "<no value>")
		assert.Contains(t, config.Header, "type: nginx")
		assert.Equal(t, strings.HasPrefix(address, "https"), strings.Contains(config.HTTP, "ssl_certificate"))
		assert.Equal(t, strings.HasPrefix(address, "unix"), strings.Contains(config.Header, "ExecStartPre"))
	}
}

func TestAChangeOfTheScriptIsAnotherVersion(t *testing.T) {
	config, err := nginx.Setup{}.Render()
	require.NoError(t, err)
	sum := sha256.Sum256([]byte(config.HTTP + config.Rules + config.Script))
	assert.Equal(t, "fb663c6f9137486a", hex.EncodeToString(sum[:8]),
		"what is printed has changed: if nginx does other things with what is written to it, raise `setup` in the script and scriptVersion; then put the new sum here")
}

func TestSetupRefusesWhatNginxWouldMisread(t *testing.T) {
	for _, tt := range []struct {
		name  string
		setup nginx.Setup
		quote string
	}{
		{"address", nginx.Setup{Address: "orders.sock"}, `"orders.sock"`},
		{"address with syntax", nginx.Setup{Address: "unix:/a;b"}, `"/a;b"`},
		{"another machine without TLS", nginx.Setup{Address: "tcp:192.0.2.1:80"}, `"tcp:192.0.2.1:80"`},
		{"folder with a space", nginx.Setup{Dir: "/etc/my files"}, `"/etc/my files"`},
		{"relative folder", nginx.Setup{Dir: "offpath"}, `"offpath"`},
		{"folder with a quote", nginx.Setup{Dir: `/etc/"`}, `"/etc/\""`},
		{"name with a new line", nginx.Setup{Name: "lb\n"}, `"lb\n"`},
		{"client header", nginx.Setup{ClientHeader: `x"}`}, `"x\"}"`},
		{"ignored header", nginx.Setup{IgnoreHeaders: []string{"accept extra"}}, `"accept extra"`},
		{"network", nginx.Setup{TrustedProxies: []netip.Prefix{{}}}, "invalid Prefix"},
	} {
		_, err := tt.setup.Render()
		assert.ErrorContains(t, err, tt.quote, tt.name)
	}
}

func TestOptionsOfATargetAreChecked(t *testing.T) {
	for _, o := range []nginx.Options{
		{Token: nginxtest.Secret("x")},
		{Address: "tcp:127.0.0.1:80"},
		{Address: "tcp:192.0.2.1:80", Token: nginxtest.Secret("x")},
		{Address: "tcp:127.0.0.1", Token: nginxtest.Secret("x")},
		{Address: "unix:orders.sock", Token: nginxtest.Secret("x")},
		{Address: "https://192.0.2.1", Token: nginxtest.Secret("x")},
		{Address: "https://u@192.0.2.1:1", Token: nginxtest.Secret("x")},
		{Address: "https://192.0.2.1:1/v1", Token: nginxtest.Secret("x")},
		{Address: "https://192.0.2.1:1", Token: nginxtest.Secret("x"), CA: []byte("none")},
		{Address: "http://127.0.0.1:1", Token: nginxtest.Secret("x")},
		{Address: "unix:/a", Token: nginxtest.Secret("x"), Timeout: -1},
		{Address: "unix:/a", Token: nginxtest.Secret("x"), Capacity: -1},
	} {
		_, err := nginx.New(o)
		assert.Error(t, err, "%s", o.Address)
	}
	target, err := nginx.New(nginx.Options{Address: "https://lb.example:9180", Token: nginxtest.Secret("x")})
	require.NoError(t, err)
	assert.Equal(t, "https://lb.example:9180", target.Name())
	assert.Equal(t, nginx.Kind, target.Kind())
	assert.Empty(t, target.Addresses())
}
