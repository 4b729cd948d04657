package balancer

import (
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const printedNginx = `# How to.
#         (umask 077; head -c 32 /dev/urandom | base64 > /etc/nginx/offpath/token)
#         include /etc/nginx/offpath/rules.conf;

# ===== part 1: into the http section, such as the file /etc/nginx/conf.d/offpath.conf =====
lua_shared_dict a 1m;
# ===== part 2: the file /etc/nginx/offpath/rules.conf =====
rules
# ===== part 3: the file /etc/nginx/offpath/offpath.lua =====
-- a script
`

func TestThePrintedSetupOfAnNginxLiesWhereItSays(t *testing.T) {
	c := Config{Kind: "nginx", Dir: t.TempDir(), Bank: netip.MustParseAddrPort("10.20.0.2:8080"), TLS: true}
	files, err := nginx{}.files(c, printedNginx, []byte("certificate"))
	require.NoError(t, err)
	assert.Equal(t, "lua_shared_dict a 1m;\n", string(files["/etc/nginx/conf.d/offpath.conf"]))
	assert.Equal(t, "rules\n", string(files["/etc/nginx/offpath/rules.conf"]))
	assert.Equal(t, "-- a script\n", string(files["/etc/nginx/offpath/offpath.lua"]))
	assert.Equal(t, "certificate", string(files["/etc/nginx/certificate.pem"]))
	assert.Contains(t, string(files["/etc/nginx/nginx.conf"]), "include /etc/nginx/offpath/rules.conf;")
	ours, err := os.ReadFile(c.path("nginx.token"))
	require.NoError(t, err)
	assert.Equal(t, ours, files["/etc/nginx/offpath/token"])
	for _, missing := range []string{"part 1", "part 2", "part 3", "/etc/nginx/offpath/token", "include /"} {
		_, err := cutNginx(strings.Replace(printedNginx, missing, "", 1))
		assert.Error(t, err, missing)
	}
}

func TestALineOfNginxIsReadAsWhenTheRequestBegan(t *testing.T) {
	e, err := nginx{}.entry("<190>Nov 23 04:00:00 journal: 1795406400.250 0.013 2001:db8:: 403")
	require.NoError(t, err)
	assert.Equal(t, Entry{Time: time.UnixMilli(1795406400237), Client: netip.MustParseAddr("2001:db8::"), Status: 403}, e)
	for _, line := range []string{"", "1795406400.250 0.013 192.0.2.1 200", "<190>Nov 23 04:00:00 journal: 1.0 - 192.0.2.1 200", "<1> journal: 1 0 unix: 200"} {
		_, err := nginx{}.entry(line)
		assert.Error(t, err, line)
	}
}
