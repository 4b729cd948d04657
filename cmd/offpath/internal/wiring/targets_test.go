package wiring

import (
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

	"offpath/cmd/offpath/internal/config"
	"offpath/detect"
	"offpath/detect/policy"
	"offpath/mitigate"
	"offpath/reassembly/content"
)

func configured(t *testing.T, list ...config.Target) *config.Config {
	c := config.Default()
	c.Mitigate.Targets = list
	return c
}

func reference(t *testing.T, text string) config.Secret {
	s, err := config.NewSecret(text)
	require.NoError(t, err)
	return s
}

func TestATargetThatHandsVerdictsOnKeepsNobodyOut(t *testing.T) {
	lb := config.Target{Name: "lb1", Type: "haproxy", Address: "unix:/a"}
	hook := config.Target{Name: "fraud", Type: "webhook", Address: "https://fraud.example/", Secret: reference(t, "env:OFFPATH_NO_SUCH")}
	block := &detect.Verdict{Action: detect.ActionBlock, Subject: detect.Subject{Client: netip.MustParsePrefix("192.0.2.1/32")}}
	session := &detect.Verdict{Action: detect.ActionBlock, Subject: detect.Subject{Session: "1"}}
	for _, tt := range []struct {
		name           string
		list           []config.Target
		block, session bool
	}{
		{"none: as if all could", nil, true, true},
		{"one load balancer: what it can", []config.Target{lb}, true, false},
		{"and a webhook: no more than that", []config.Target{lb, hook}, true, false},
		{"a webhook alone: as if there was none", []config.Target{hook}, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			targets, err := Targets(configured(t, tt.list...))
			require.NoError(t, err)
			carried := Carried(targets)
			if carried == nil {
				carried = func(*detect.Verdict) bool { return true }
			}
			assert.Equal(t, tt.block, carried(block))
			assert.Equal(t, tt.session, carried(session))
		})
	}
	targets, err := Targets(configured(t, lb, hook))
	require.NoError(t, err)
	assert.True(t, Taken(targets, &detect.Verdict{Action: detect.ActionHold, Subject: detect.Subject{UserHash: "1"}}))
	assert.False(t, Taken(targets[:1], &detect.Verdict{Action: detect.ActionHold, Subject: detect.Subject{UserHash: "1"}}))
}

// The receiver that is printed knows accounts by the names that offpath gives them.
func TestThePrintedReceiverNamesAccountsAsTheSensorDoes(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil && os.Getenv("CI") == "" {
		t.Skip("no python3 on this machine")
	}
	require.NoError(t, err)
	var b strings.Builder
	text, err := TargetSetup(&config.Target{Type: "webhook"}, config.Default())
	require.NoError(t, err)
	_, err = text.WriteTo(&b)
	require.NoError(t, err)
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "receiver.py"), []byte(b.String()), 0o600))

	key := []byte("a site key of 16 octets or more")
	sensor, err := content.New(content.Config{Key: key})
	require.NoError(t, err)
	const program = "import sys, receiver; print(receiver.user_hash(bytes.fromhex(sys.argv[1]), sys.argv[2]))"
	for _, name := range []string{"alice", "alice@bank.example", "zoë"} {
		c := exec.Command(python, "-c", program, hex.EncodeToString(key), "  "+strings.ToUpper(name)+"\n")
		c.Dir = folder
		out, err := c.CombinedOutput()
		require.NoError(t, err, "%s", out)
		assert.Equal(t, sensor.Hash(content.KindAccount, []byte(name)), strings.TrimSpace(string(out)), name)
	}
}

func TestALoadBalancerWhoseRatesAreConfiguredHasThoseOfThePolicies(t *testing.T) {
	for kind, address := range map[string]string{"nginx_plus": "http://127.0.0.1:8089", "nginx_file": ""} {
		c := configured(t, config.Target{Name: "lb1", Type: kind, Address: address})
		c.Detect.Policies = []policy.Statement{{Name: policy.Stuffing, Action: "rate_limit", Rate: policy.Rate{Requests: 7, Per: time.Minute}}}
		targets, err := Targets(c)
		require.NoError(t, err)
		limit := &detect.Verdict{Action: detect.ActionRateLimit, Rate: detect.Rate{Requests: 7, Per: 60e9}, Subject: detect.Subject{Client: netip.MustParsePrefix("192.0.2.1/32")}}
		assert.True(t, Carried(targets)(limit))
		limit.Rate.Requests = 8
		assert.False(t, Carried(targets)(limit))
		var printed strings.Builder
		setup, err := TargetSetup(&c.Mitigate.Targets[0], c)
		require.NoError(t, err)
		_, err = setup.WriteTo(&printed)
		require.NoError(t, err)
		assert.Contains(t, printed.String(), "limit_req zone=offpath_rate_7per60 burst=6 nodelay;")
	}
}

func TestADataPlaneAPIIsMadeOfItsKeysAndToldOfTheProxies(t *testing.T) {
	c := configured(t, config.Target{Name: "lb1", Type: "haproxy_dataplane", Address: "https://192.0.2.10:5555", User: "waf", Password: reference(t, "env:OFFPATH_NO_SUCH"), MapDir: "/srv/maps", APIVersion: 2, DeceiveStatus: 401, Tarpit: time.Second})
	c.Client.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	c.Client.IgnoreHeaders = []string{"x-edge"}
	made, err := Targets(c)
	require.NoError(t, err)
	assert.Equal(t, "haproxy_dataplane", made[0].Kind())
	_, err = made[0].Identity(t.Context())
	assert.ErrorContains(t, err, "OFFPATH_NO_SUCH")
	text, err := TargetSetup(&c.Mitigate.Targets[0], c)
	require.NoError(t, err)
	var b strings.Builder
	_, err = text.WriteTo(&b)
	require.NoError(t, err)
	for _, part := range []string{"-m ip 10.0.0.0/8\n", "/srv/maps/offpath-verdicts.map", "curl -u waf ", "https://192.0.2.10:5555/v3/", "str(x-edge)", "return status 401", "/srv/maps/deception.body", "timeout tarpit 1000ms"} {
		assert.Contains(t, b.String(), part)
	}
}

func TestABIGIPIsMadeOfItsKeysAndToldOfTheProxies(t *testing.T) {
	c := configured(t, config.Target{Name: "lb1", Type: "f5_bigip", Address: "https://192.0.2.10", User: "offpath", Password: reference(t, "env:OFFPATH_NO_SUCH"), Partition: "waf"})
	c.Client.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	made, err := Targets(c)
	require.NoError(t, err)
	assert.Equal(t, "f5_bigip", made[0].Kind())
	_, err = made[0].Identity(t.Context())
	assert.ErrorContains(t, err, "OFFPATH_NO_SUCH")
	text, err := TargetSetup(&c.Mitigate.Targets[0], c)
	require.NoError(t, err)
	var b strings.Builder
	_, err = text.WriteTo(&b)
	require.NoError(t, err)
	assert.Contains(t, b.String(), "tmsh create ltm data-group internal /waf/offpath_proxies type ip records add { 10.0.0.0/8 { } }\n")
}

func TestANetScalerIsMadeOfItsKeys(t *testing.T) {
	c := configured(t, config.Target{Name: "lb1", Type: "netscaler", Address: "https://192.0.2.10", User: "waf", Password: reference(t, "env:OFFPATH_NO_SUCH")})
	made, err := Targets(c)
	require.NoError(t, err)
	assert.Equal(t, "netscaler", made[0].Kind())
	_, err = made[0].Identity(t.Context())
	assert.ErrorContains(t, err, "OFFPATH_NO_SUCH")
	text, err := TargetSetup(&c.Mitigate.Targets[0], c)
	require.NoError(t, err)
	var b strings.Builder
	_, err = text.WriteTo(&b)
	require.NoError(t, err)
	for _, part := range []string{"#               user: waf\n", "add policy stringmap offpath_verdicts", "-invoke policylabel offpath_refuse4\n"} {
		assert.Contains(t, b.String(), part)
	}
}

func TestCloudflareIsMadeOfItsKeys(t *testing.T) {
	const account, zone = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"
	c := configured(t, config.Target{Name: "edge", Type: "cloudflare", Account: account, Zones: []string{zone}, Token: reference(t, "env:OFFPATH_NO_SUCH"), Capacity: 77})
	made, err := Targets(c)
	require.NoError(t, err)
	assert.Equal(t, []string{"edge", "cloudflare"}, []string{made[0].Name(), made[0].Kind()})
	assert.Equal(t, 77, made[0].Capacity())
	_, err = made[0].Identity(t.Context())
	assert.ErrorContains(t, err, "OFFPATH_NO_SUCH")
	text, err := TargetSetup(&c.Mitigate.Targets[0], c)
	require.NoError(t, err)
	var b strings.Builder
	_, err = text.WriteTo(&b)
	require.NoError(t, err)
	assert.Contains(t, b.String(), "\naccount="+account+"\nzones='"+zone+"'\n")
	assert.Contains(t, b.String(), "up to 77 for verdicts")
}

func TestTargetsThatAreFetchedFromAreMadeAndExplained(t *testing.T) {
	key := reference(t, "env:OFFPATH_NO_SUCH")
	for name, want := range map[string]string{"crowdsec": "api_url: https://lb1.example", "feed": "https://lb1.example"} {
		target := config.Target{Name: name, Type: name, Address: "tcp:0.0.0.0:8443", Token: key, Certificate: "/c.pem", Key: key}
		made, err := Targets(configured(t, target))
		require.NoError(t, err)
		assert.Equal(t, []string{name, name}, []string{made[0].Name(), made[0].Kind()})
		_, err = made[0].(mitigate.Publisher).Look(t.Context())
		assert.ErrorContains(t, err, "OFFPATH_NO_SUCH")
		text, err := TargetSetup(&target, config.Default())
		require.NoError(t, err)
		var b strings.Builder
		_, err = text.WriteTo(&b)
		require.NoError(t, err)
		assert.Contains(t, b.String(), strings.Replace(want, "lb1.example", "offpath.example:8443/", 1))
	}
}
