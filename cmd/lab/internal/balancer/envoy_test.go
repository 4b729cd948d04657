package balancer

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const printedEnvoy = `# How to.

# ===== part 1: fields of the HttpConnectionManager =====
use_remote_address: true
# ===== part 2: items of its http_filters, before all others =====
- name: verdicts
# ===== part 3: an item of its access_log =====
- name: offpath
# ===== part 4: an item of static_resources.clusters =====
- name: offpath_server
`

func TestThePrintedSetupOfAnEnvoyStandsWhereItSays(t *testing.T) {
	c := Config{Kind: "envoy", Dir: t.TempDir(), Bank: netip.MustParseAddrPort("10.20.0.2:8080"), TLS: true}
	files, err := envoy{}.files(c, printedEnvoy, []byte("certificate"))
	require.NoError(t, err)
	assert.Equal(t, "certificate", string(files["certificate.pem"]))
	file := string(files[envoyFile])
	assert.Equal(t, 2, strings.Count(file, "\n          use_remote_address: true\n"), "both of the bank's addresses")
	assert.Equal(t, 2, strings.Count(file, "\n          http_filters:\n          - name: verdicts\n"))
	assert.Equal(t, 2, strings.Count(file, "\n          - name: offpath\n"))
	assert.Equal(t, 1, strings.Count(file, "\n  - name: offpath_server\n"))

	c.Forgetful = true
	files, err = envoy{}.files(c, printedEnvoy, nil)
	require.NoError(t, err)
	bank, elsewhere, _ := strings.Cut(string(files[envoyFile]), "- name: elsewhere")
	assert.NotContains(t, bank, "verdicts")
	assert.Contains(t, elsewhere, "verdicts")
	for _, part := range []string{"part 1", "part 2", "part 3", "part 4"} {
		_, err := envoy{}.files(c, strings.Replace(printedEnvoy, part, "part 9", 1), nil)
		assert.Error(t, err, part)
	}
}

func TestALineOfEnvoyIsReadAsWhenTheRequestBegan(t *testing.T) {
	e, err := envoy{}.entry("1795406400.237 2001:db8:: 403")
	require.NoError(t, err)
	assert.Equal(t, Entry{Time: time.UnixMilli(1795406400237), Client: netip.MustParseAddr("2001:db8::"), Status: 403}, e)
	for _, line := range []string{"", "1795406400.250 - 200", "x 192.0.2.1 200"} {
		_, err := envoy{}.entry(line)
		assert.Error(t, err, line)
	}
}
