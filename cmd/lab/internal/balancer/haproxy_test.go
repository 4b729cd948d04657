package balancer

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const printed = `# How to.
#         touch /etc/haproxy/offpath/a.map /etc/haproxy/offpath/b.map

# ===== part 1: into your global section =====
    stats socket /x
# ===== part 2: sections of their own =====
backend t
# ===== part 3: first in every protected frontend =====
    http-request deny
# ===== part 4: the file /etc/haproxy/offpath/c.lua =====
-- a script
`

func TestThePrintedSetupIsCutIntoItsParts(t *testing.T) {
	p, err := cut(printed)
	require.NoError(t, err)
	assert.Equal(t, parts{global: "    stats socket /x\n", sections: "backend t\n", rules: "    http-request deny\n",
		script: "-- a script\n", scriptFile: "/etc/haproxy/offpath/c.lua",
		files: []string{"/etc/haproxy/offpath/a.map", "/etc/haproxy/offpath/b.map"}}, p)
	for _, missing := range []string{"touch", "part 1", "part 2", "part 3", "part 4", " /etc/haproxy/offpath/c.lua"} {
		_, err := cut(strings.Replace(printed, missing, "", 1))
		assert.Error(t, err, missing)
	}
}

func TestThePartsStandWhereTheyBelong(t *testing.T) {
	p, err := cut(printed)
	require.NoError(t, err)
	for _, tls := range []bool{false, true} {
		c := Config{Dir: "/run/lab", Bank: netip.MustParseAddrPort("10.20.0.2:8080"), TLS: tls}
		text := haproxy{}.file(c, p)
		order := []string{"global\n", "stats socket /x", "defaults\n", "backend t\n", "frontend bank\n", "http-request deny", "default_backend bank"}
		at := 0
		for _, part := range order {
			next := strings.Index(text[at:], part)
			require.GreaterOrEqual(t, next, 0, "%q is not behind the part before it", part)
			at += next
		}
		assert.Equal(t, tls, strings.Contains(text, " ssl crt "))
	}
}
