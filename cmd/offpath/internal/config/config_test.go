package config

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect/override"
	"offpath/detect/policy"
)

// write puts a configuration into a file of a fresh folder.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "offpath.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestEverySettingCanBeGivenInTheFile(t *testing.T) {
	c, err := Load(write(t, `
# comment
capture:
  interfaces: [eth1, "eth2"]
  workers: 4
  ring_mib: 128
  record: /var/tmp/all.pcapng
  tunnels: [10.0.0.0/8]
reassembly:
  memory_mib: 2048
client:
  trusted_proxies: [10.0.0.0/8, 192.0.2.7, "2001:db8::/32"]
  ignore_headers: [X-Request-Id]
  allow:
    - 198.51.100.0/24
hash:
  key: env:OFFPATH_TEST_KEY
detect:
  baseline: 0.1
  verdict_ttl: 15m
mitigate:
  mode: off
  max_harm: 500
  private_clients: true
  targets:
    - name: lb1
      type: haproxy
      address: unix:/run/haproxy/admin.sock
    - {name: lb2, type: haproxy, address: "tcp:127.0.0.1:9999", mode: monitor, map_dir: /etc/maps}
stream:
  brokers: [kafka1.example:9092, "[::1]:9092"]
output:
  verdicts: /var/log/verdicts.jsonl
admin:
  socket: /tmp/admin.sock
  listen: ""
state: {dir: /tmp/state}
log:
  level: debug
  format: json
`), nil)
	require.NoError(t, err)
	assert.Equal(t, []string{"eth1", "eth2"}, c.Capture.Interfaces)
	assert.Equal(t, 4, c.Capture.Workers)
	assert.Equal(t, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, c.Capture.Tunnels)
	assert.Equal(t, []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("2001:db8::/32"),
	}, c.Client.TrustedProxies)
	assert.Equal(t, "env:OFFPATH_TEST_KEY", c.Hash.Key.String())
	assert.Equal(t, 0.1, c.Detect.Baseline)
	assert.Equal(t, 15*time.Minute, c.Detect.VerdictTTL)
	assert.Equal(t, "off", c.Mitigate.Mode)
	assert.Equal(t, 500.0, c.Mitigate.MaxHarm)
	assert.True(t, c.Mitigate.PrivateClients)
	assert.Equal(t, []Target{
		{Name: "lb1", Type: "haproxy", Address: "unix:/run/haproxy/admin.sock"},
		{Name: "lb2", Type: "haproxy", Address: "tcp:127.0.0.1:9999", Mode: "monitor", MapDir: "/etc/maps"},
	}, c.Mitigate.Targets)
	assert.Empty(t, c.Admin.Listen)
	assert.Equal(t, 1e-6, c.Detect.FalseAlarm, "what is not given keeps its default")
}

func TestEmptyFilesGiveTheDefaults(t *testing.T) {
	for name, text := range map[string]string{
		"nothing at all":     "",
		"comments alone":     "# nothing\n",
		"sections left open": "capture:\nmitigate:\n",
		"settings left open": "capture:\n  interfaces:\n  workers:\n",
		"a null document":    "---\n",
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, text)
			c, err := Load(path, nil)
			require.NoError(t, err)
			want := Default()
			want.Path = path
			assert.Equal(t, want, c)
		})
	}
}

func TestMistakesInTheFileAreNamedWithTheirPlaceAndMend(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"an unknown section names the nearest", "capture:\n  workers: 1\ncaptur:\n", `:3: unknown key "captur"; the nearest known key is "capture"`},
		{"an unknown key names the nearest", "capture:\n  interface: [eth1]\n", `:2: unknown key "capture.interface"; the nearest known key is "capture.interfaces"`},
		{"swapped letters count as one slip", "mitigate:\n  mdoe: off\n", `:2: unknown key "mitigate.mdoe"; the nearest known key is "mitigate.mode"`},
		{"a key of another section is found there", "capture:\n  mode: enforce\n", `:2: unknown key "capture.mode"; the nearest known key is "mitigate.mode"`},
		{"a key without its section is found in it", "interfaces: [eth1]\n", `:1: unknown key "interfaces"; the nearest known key is "capture.interfaces"`},
		{"an unknown key of a target", "mitigate:\n  targets:\n    - name: lb1\n      adress: unix:/a\n", `:4: unknown key "mitigate.targets[0].adress"; the nearest known key is "mitigate.targets[0].address"`},
		{"a merge key is no setting", "<<: {}\n", `:1: unknown key "<<"; the nearest known key is "tls"`},
		{"a key that stands there twice", "log:\n  level: info\n  level: warn\n", `:3: key "log.level" stands already on line 2; remove one of them`},
		{"a section that stands there twice", "log:\n  level: info\nlog:\n  level: warn\n", `:3: key "log" stands already on line 1; remove one of them`},
		{"a section that is a value", "capture: eth1\n", `:1: capture: "eth1" is not a section; write keys below it, each as "key: value"`},
		{"a document that is a list", "- a\n", `:1: a list is not a section; write keys below it, each as "key: value"`},
		{"no YAML", "capture: [\n", `:1: no valid YAML: did not find expected node content`},
		{"tabs", "capture:\n\tworkers: 1\n", `:2: no valid YAML: found character that cannot start any token`},
		{"two documents", "log:\n---\nlog:\n", `:3: a second document begins here; a configuration is one`},

		{"a value that is no list", "capture:\n  interfaces: eth1\n", `:2: capture.interfaces: "eth1" is not a list; write it as [eth1]`},
		{"a list in a list", "capture:\n  interfaces: [[eth1]]\n", `:2: capture.interfaces: a list is not a single value`},
		{"a list that is a value", "capture:\n  workers: [1]\n", `:2: capture.workers: a list is not a single value`},
		{"a word that is no number", "capture:\n  workers: four\n", `:2: capture.workers: "four" is not a whole number; write digits alone`},
		{"a fraction that is no whole number", "capture:\n  workers: 1.5\n", `:2: capture.workers: "1.5" is not a whole number; write digits alone`},
		{"a number that is no share", "detect:\n  baseline: much\n", `:2: detect.baseline: "much" is not a number; write one such as 0.5`},
		{"a number that is none", "detect:\n  baseline: NaN\n", `:2: detect.baseline: "NaN" is not a number; write one such as 0.5`},
		{"a duration without a unit", "detect:\n  verdict_ttl: 10\n", `:2: detect.verdict_ttl: "10" is not a duration; write a number with its unit, such as 90s, 15m or 24h`},
		{"an item of a list on its own line", "client:\n  allow:\n    - 10.0.0.0/8\n    - 10.0.0.1/8\n", `:4: client.allow: "10.0.0.1/8" has bits set beyond its prefix length; did you mean 10.0.0.0/8?`},
		{"no network", "client:\n  trusted_proxies: [proxy1]\n", `:2: client.trusted_proxies: "proxy1" is neither an address nor a network; write it as 192.0.2.1 or 192.0.2.0/24`},
		{"no header name", "client:\n  ignore_headers: ['X-Id: 1']\n", `:2: client.ignore_headers: "X-Id: 1" is no header name; write the name alone, such as X-Request-Id`},
		{"a secret in the file is not repeated", "hash:\n  key: hunter2hunter2hunter2\n", `:2: hash.key: not a reference to a secret; write file:PATH or env:NAME, never the secret itself`},

		{"workers out of range", "capture:\n  workers: -1\n", `:2: capture.workers: -1 is out of range; write a number from 0 to 256`},
		{"ring out of range", "capture:\n  ring_mib: 0\n", `:2: capture.ring_mib: 0 is out of range; write a number from 1 to 4096`},
		{"memory out of range", "reassembly:\n  memory_mib: 1\n", `:2: reassembly.memory_mib: 1 is out of range; write a number from 32 to 1048576`},
		{"no interface name", "capture:\n  interfaces: [a/b]\n", "" + `:2: capture.interfaces: "a/b" is no name of an interface; ` + "`ip link` lists them"},
		{"an interface twice", "capture:\n  interfaces: [eth1, eth1]\n", `:2: capture.interfaces: "eth1" stands there twice; remove one`},
		{"no mode", "mitigate:\n  mode: enforced\n", `:2: mitigate.mode: "enforced" is none of off, monitor, enforce; did you mean "enforce"?`},
		{"no type of target", "mitigate:\n  targets:\n    - {name: lb1, type: hapoxy, address: unix:/a}\n", `:3: mitigate.targets[0].type: "hapoxy" is none of ` + strings.Join(TargetTypes(), ", ") + `; did you mean "haproxy"?`},
		{"a target without a name", "mitigate:\n  targets:\n    - type: haproxy\n", `:3: mitigate.targets[0].name: "" is no name of a target; write letters, digits, '.', '_' and '-', such as lb1`},
		{"two targets of one name", "mitigate:\n  targets:\n    - {name: a, type: haproxy, address: unix:/a}\n    - {name: a, type: haproxy, address: unix:/b}\n", `:4: mitigate.targets[1].name: "a" is the name of another target already; names must differ`},
		{"a target at a relative path", "mitigate:\n  targets:\n    - {name: a, type: haproxy, address: unix:a}\n", `:3: mitigate.targets[0].address: "unix:a" has no absolute path; write unix:/run/haproxy/admin.sock, master:/run/haproxy-master.sock or tcp:127.0.0.1:9999`},
		{"a deception without a final status", "mitigate:\n  targets:\n    - {name: a, type: haproxy, address: unix:/a, deceive_status: 101}\n", `:3: mitigate.targets[0].deceive_status: 101 is no status of a final answer; write what your site answers to a wrong password, such as 401`},
		{"a deception's type alone", "mitigate:\n  targets:\n    - {name: a, type: haproxy, address: unix:/a, deceive_type: text/html}\n", `:3: mitigate.targets[0].deceive_type: there is no answer for it; write deceive_status, too`},
		{"a deception of no media type", "mitigate:\n  targets:\n    - {name: a, type: haproxy, address: unix:/a, deceive_status: 200, deceive_type: html}\n", `:3: mitigate.targets[0].deceive_type: "html" is no media type; write one such as application/json`},
		{"a long tarpit", "mitigate:\n  targets:\n    - {name: a, type: haproxy, address: unix:/a, tarpit: 2m}\n", `:3: mitigate.targets[0].tarpit: 2m0s is not of whole milliseconds up to a minute; write one such as 2s`},
		{"connections of no tarpit", "mitigate:\n  targets:\n    - {name: a, type: haproxy, address: unix:/a, tarpit_connections: 10}\n", `:3: mitigate.targets[0].tarpit_connections: nothing waits there; write tarpit, too`},
		{"a peer that is no target", "mitigate:\n  targets:\n    - {name: a, type: haproxy, address: unix:/a, peer_address: '10.0.0.1:10077', peers: [b]}\n", `:3: mitigate.targets[0].peers: "b" is no target of type haproxy; each peer has to be one, since they tell each other nothing of what is lifted`},
		{"a peer of itself", "mitigate:\n  targets:\n    - {name: a, type: haproxy, address: unix:/a, peers: [a]}\n", `:3: mitigate.targets[0].peers: a is this target itself; name the others`},
		{"peers that can't be reached", "mitigate:\n  targets:\n    - {name: a, type: haproxy, address: unix:/a, peers: [b]}\n    - {name: b, type: haproxy, address: unix:/b}\n", `:3: mitigate.targets[0].peers: a and b can't reach each other; write peer_address for both`},
		{"peers of other modes", "mitigate:\n  targets:\n    - {name: a, type: haproxy, address: unix:/a, peer_address: '10.0.0.1:10077', peers: [b]}\n    - {name: b, type: haproxy, address: unix:/b, peer_address: '10.0.0.2:10077', mode: monitor}\n", `:3: mitigate.targets[0].peers: a and b tell each other their mode; write the same mode for both`},
		{"a peer address without a port", "mitigate:\n  targets:\n    - {name: a, type: haproxy, address: unix:/a, peer_address: lb1}\n", `:3: mitigate.targets[0].peer_address: "lb1" is not HOST:PORT; write one such as 10.0.0.1:10077`},
		{"a target without a port", "mitigate:\n  targets:\n    - {name: a, type: haproxy, address: 'tcp:lb1'}\n", `:3: mitigate.targets[0].address: "tcp:lb1" is not HOST:PORT; write unix:/run/haproxy/admin.sock, master:/run/haproxy-master.sock or tcp:127.0.0.1:9999`},
		{"a target of no kind", "mitigate:\n  targets:\n    - {name: a, type: haproxy, address: /run/a}\n", `:3: mitigate.targets[0].address: "/run/a" is no address of a target; write unix:/run/haproxy/admin.sock, master:/run/haproxy-master.sock or tcp:127.0.0.1:9999`},
		{"a target in no mode", "mitigate:\n  targets:\n    - {name: a, type: haproxy, address: unix:/a, mode: enfroce}\n", `:3: mitigate.targets[0].mode: "enfroce" is none of off, monitor, enforce; did you mean "enforce"?`},
		{"harm beyond everybody", "mitigate:\n  max_harm: 2000000\n", `:2: mitigate.max_harm: 2e+06 is out of range; write a number of logins above 0 and up to 1000000`},
		{"no verdicts at all", "mitigate:\n  max_per_minute: 0\n", `:2: mitigate.max_per_minute: 0 is out of range; write a number from 1 to 1048576`},
		{"targets that are no list", "mitigate:\n  targets: lb1\n", `:2: mitigate.targets: "lb1" is not a list; write each load balancer as an item of its own, "- name: …"`},
		{"a Data Plane API whose password all could read", "mitigate:\n  targets:\n    - {name: a, type: haproxy_dataplane, address: 'http://lb1:5555', user: u, password: 'env:P'}\n", `:3: mitigate.targets[0].address: "http://lb1:5555" would show the password to the network; write one such as https://lb1.example:5555`},
		{"a Data Plane API without a user", "mitigate:\n  targets:\n    - {name: a, type: haproxy_dataplane, address: 'https://lb1:5555', password: 'env:P'}\n", `:3: mitigate.targets[0].user: "" is no name of a user; write who logs in to the Data Plane API, in letters, digits, '.', '_' and '-'`},
		{"a Data Plane API without a password", "mitigate:\n  targets:\n    - {name: a, type: haproxy_dataplane, address: 'https://lb1:5555', user: u}\n", `:3: mitigate.targets[0].password: it is empty; write file:PATH or env:NAME of the password of u`},
		{"a relative folder of the API", "mitigate:\n  targets:\n    - {name: a, type: haproxy_dataplane, address: 'https://lb1:5555', user: u, password: 'env:P', map_dir: maps}\n", `:3: mitigate.targets[0].map_dir: "maps" is not an absolute path of letters, digits, '.', '_' and '-'; write the API's maps_dir, such as /etc/haproxy/maps`},
		{"a version of the API that there is not", "mitigate:\n  targets:\n    - {name: a, type: haproxy_dataplane, address: 'https://lb1:5555', user: u, password: 'env:P', api_version: 1}\n", `:3: mitigate.targets[0].api_version: 1 is no version of the API; write 2 or 3, or leave it out`},
		{"a Data Plane API's deception of no status", "mitigate:\n  targets:\n    - {name: a, type: haproxy_dataplane, address: 'https://lb1:5555', user: u, password: 'env:P', deceive_type: text/html}\n", `:3: mitigate.targets[0].deceive_type: there is no answer for it; write deceive_status, too`},
		{"a relative map folder", "mitigate:\n  targets:\n    - {name: a, type: haproxy, address: unix:/a, map_dir: maps}\n", `:3: mitigate.targets[0].map_dir: "maps" is not an absolute path; write one such as /etc/haproxy/offpath`},
		{"an nginx on another machine without TLS", "mitigate:\n  targets:\n    - {name: a, type: nginx, address: 'tcp:192.0.2.1:9180', token: 'env:T'}\n", `:3: mitigate.targets[0].address: "tcp:192.0.2.1:9180" is no port of a loopback address, and the token would go in the clear; write tcp:127.0.0.1:9180, unix:/run/offpath/nginx.sock or https://lb1.example:9180`},
		{"an nginx of no address", "mitigate:\n  targets:\n    - {name: a, type: nginx, token: 'env:T'}\n", `:3: mitigate.targets[0].address: "" is no address of an nginx; write tcp:127.0.0.1:9180, unix:/run/offpath/nginx.sock or https://lb1.example:9180`},
		{"an nginx without a token", "mitigate:\n  targets:\n    - {name: a, type: nginx, address: 'https://lb1.example:9180'}\n", `:3: mitigate.targets[0].token: it is empty; write file:PATH or env:NAME of the token that nginx has, too`},
		{"the token of an nginx itself", "mitigate:\n  targets:\n    - {name: a, type: nginx, address: 'unix:/a', token: hunter2}\n", `:3: mitigate.targets[0].token: not a reference to a secret; write file:PATH or env:NAME, never the secret itself`},
		{"a relative folder of an nginx", "mitigate:\n  targets:\n    - {name: a, type: nginx, address: 'unix:/a', token: 'env:T', conf_dir: offpath}\n", `:3: mitigate.targets[0].conf_dir: "offpath" is not an absolute path; write one such as /etc/nginx/offpath`},
		{"a webhook without a scheme", "mitigate:\n  targets:\n    - {name: a, type: webhook, address: fraud.example, secret: 'env:S'}\n", `:3: mitigate.targets[0].address: "fraud.example" is not http://HOST… or https://HOST…; write one such as https://fraud.example/offpath`},
		{"a webhook without a secret", "mitigate:\n  targets:\n    - {name: a, type: webhook, address: 'https://fraud.example/'}\n", `:3: mitigate.targets[0].secret: it is empty; write file:PATH or env:NAME of what messages are signed with, 16 octets or more`},
		{"the secret of a webhook itself", "mitigate:\n  targets:\n    - {name: a, type: webhook, address: 'https://fraud.example/', secret: hunter2}\n", `:3: mitigate.targets[0].secret: not a reference to a secret; write file:PATH or env:NAME, never the secret itself`},
		{"an API without a scheme", "mitigate:\n  targets:\n    - {name: a, type: nginx_plus, address: 'lb1:8443'}\n", `:3: mitigate.targets[0].address: "lb1:8443" is not http://HOST:PORT or https://HOST:PORT; write one such as https://lb1.example:8443`},
		{"a BIG-IP whose password all could read", "mitigate:\n  targets:\n    - {name: a, type: f5_bigip, address: 'http://lb1', user: u, password: 'env:P'}\n", `:3: mitigate.targets[0].address: "http://lb1" would show the password to the network; write one such as https://bigip1.example`},
		{"a BIG-IP without a user", "mitigate:\n  targets:\n    - {name: a, type: f5_bigip, address: 'https://lb1', password: 'env:P'}\n", `:3: mitigate.targets[0].user: "" is no name of a user; write who logs in over iControl REST, in letters, digits, '.', '_' and '-'`},
		{"a BIG-IP without a password", "mitigate:\n  targets:\n    - {name: a, type: f5_bigip, address: 'https://lb1', user: u}\n", `:3: mitigate.targets[0].password: it is empty; write file:PATH or env:NAME of the password of u`},
		{"a NetScaler whose password all could read", "mitigate:\n  targets:\n    - {name: a, type: netscaler, address: 'http://lb1', user: u, password: 'env:P'}\n", `:3: mitigate.targets[0].address: "http://lb1" would show the password to the network; write one such as https://netscaler1.example`},
		{"a NetScaler without a user", "mitigate:\n  targets:\n    - {name: a, type: netscaler, address: 'https://lb1', password: 'env:P'}\n", `:3: mitigate.targets[0].user: "" is no name of a user; write who logs in over NITRO, in letters, digits, '.', '_' and '-'`},
		{"a NetScaler without a password", "mitigate:\n  targets:\n    - {name: a, type: netscaler, address: 'https://lb1', user: u}\n", `:3: mitigate.targets[0].password: it is empty; write file:PATH or env:NAME of the password of u`},
		{"a partition that is none", "mitigate:\n  targets:\n    - {name: a, type: f5_bigip, address: 'https://lb1', user: u, password: 'env:P', partition: 'a b'}\n", `:3: mitigate.targets[0].partition: "a b" is no name of a partition; write one such as Common`},
		{"a user without a password", "mitigate:\n  targets:\n    - {name: a, type: nginx_plus, address: 'http://lb1:80', user: u}\n", `:3: mitigate.targets[0].password: it is empty; write file:PATH or env:NAME of the password of u`},
		{"a password without a user", "mitigate:\n  targets:\n    - {name: a, type: nginx_plus, address: 'http://lb1:80', password: 'env:P'}\n", `:3: mitigate.targets[0].user: it is empty; write whose password it is`},
		{"a plain nginx elsewhere", "mitigate:\n  targets:\n    - {name: a, type: nginx_file, address: 'tcp:192.0.2.1:9181'}\n", `:3: mitigate.targets[0].address: "tcp:192.0.2.1:9181" is no port of a loopback address; it is where nginx says what is in force: write tcp:127.0.0.1:9181 or unix:/run/nginx-offpath.sock, or leave it out`},
		{"a plain nginx with a relative folder", "mitigate:\n  targets:\n    - {name: a, type: nginx_file, conf_dir: offpath}\n", `:3: mitigate.targets[0].conf_dir: "offpath" is not an absolute path of letters, digits, '.', '_' and '-'; write one such as /etc/nginx/offpath`},
		{"a pid file that is syntax", "mitigate:\n  targets:\n    - {name: a, type: nginx_file, pid_file: '/run/nginx;pid'}\n", `:3: mitigate.targets[0].pid_file: "/run/nginx;pid" is not an absolute path of letters, digits, '.', '_' and '-'; write one such as /run/nginx.pid`},
		{"a command in the place of a program", "mitigate:\n  targets:\n    - {name: a, type: nginx_file, program: 'sudo nginx'}\n", `:3: mitigate.targets[0].program: "sudo nginx" is not an absolute path of letters, digits, '.', '_' and '-'; write one such as /usr/sbin/nginx`},
		{"reloads without a pause", "mitigate:\n  targets:\n    - {name: a, type: nginx_file, reload_interval: 1ms}\n", `:3: mitigate.targets[0].reload_interval: 1ms is out of range; write 100ms to 10s`},
		{"two plain nginxes in one folder", "mitigate:\n  targets:\n    - {name: a, type: nginx_file}\n    - {name: b, type: nginx_file, conf_dir: /etc/nginx/offpath}\n", `:4: mitigate.targets[1].conf_dir: target a writes there already; give each nginx a folder of its own`},
		{"AWS without a region", "mitigate:\n  targets:\n    - {name: a, type: aws_waf, access_key: k, secret: 'env:S'}\n", `:3: mitigate.targets[0].region: "" is no name of a region; write one such as eu-central-1, with scope cloudfront us-east-1`},
		{"CloudFront in another region", "mitigate:\n  targets:\n    - {name: a, type: aws_waf, region: eu-central-1, scope: cloudfront, access_key: k, secret: 'env:S'}\n", `:3: mitigate.targets[0].region: "eu-central-1" is not us-east-1, which CloudFront's web ACLs belong to; write one such as eu-central-1, with scope cloudfront us-east-1`},
		{"AWS of no scope", "mitigate:\n  targets:\n    - {name: a, type: aws_waf, region: eu-central-1, scope: global, access_key: k, secret: 'env:S'}\n", `:3: mitigate.targets[0].scope: "global" is none of regional, cloudfront; did you mean "regional"?`},
		{"a rule group of no name", "mitigate:\n  targets:\n    - {name: a, type: aws_waf, region: eu-central-1, group: a b, access_key: k, secret: 'env:S'}\n", `:3: mitigate.targets[0].group: "a b" is no name of a rule group; write letters, digits, '-' and '_', at most 64`},
		{"AWS without a key", "mitigate:\n  targets:\n    - {name: a, type: aws_waf, region: eu-central-1}\n", `:3: mitigate.targets[0].access_key: it is empty; write the id of the key that secret belongs to`},
		{"AWS without a secret", "mitigate:\n  targets:\n    - {name: a, type: aws_waf, region: eu-central-1, access_key: k}\n", `:3: mitigate.targets[0].secret: it is empty; write file:PATH or env:NAME of the secret access key`},
		{"AWS at no URL", "mitigate:\n  targets:\n    - {name: a, type: aws_waf, address: aws, region: eu-central-1, access_key: k, secret: 'env:S'}\n", `:3: mitigate.targets[0].address: "aws" is not http://HOST… or https://HOST…; leave it out, or write the URL of another endpoint of AWS`},
		{"two writers in one place of AWS", "mitigate:\n  targets:\n    - {name: a, type: aws_waf, region: eu-central-1, access_key: k, secret: 'env:S'}\n    - {name: b, type: aws_waf, region: eu-central-1, group: b, access_key: k, secret: 'env:S'}\n", `:4: mitigate.targets[1].region: target a writes in eu-central-1 with this key already, and AWS takes one update a second there; one target has to do`},
		{"Cloudflare without an account", "mitigate:\n  targets:\n    - {name: a, type: cloudflare, zones: [0123456789abcdef0123456789abcdef], token: 'env:T'}\n", `:3: mitigate.targets[0].account: "" is no id of 32 hex digits; write that of your account, from its overview in the dashboard`},
		{"Cloudflare without zones", "mitigate:\n  targets:\n    - {name: a, type: cloudflare, account: 0123456789abcdef0123456789abcdef, token: 'env:T'}\n", `:3: mitigate.targets[0].zones: it is empty; write the ids of the zones that have the rule, from their overviews in the dashboard`},
		{"a zone by its name", "mitigate:\n  targets:\n    - {name: a, type: cloudflare, account: 0123456789abcdef0123456789abcdef, zones: [bank.example], token: 'env:T'}\n", `:3: mitigate.targets[0].zones: "bank.example" is no id of 32 hex digits; write that of the zone, from its overview in the dashboard`},
		{"a zone twice", "mitigate:\n  targets:\n    - {name: a, type: cloudflare, account: 0123456789abcdef0123456789abcdef, zones: [0123456789abcdef0123456789abcdef, 0123456789abcdef0123456789abcdef], token: 'env:T'}\n", `:3: mitigate.targets[0].zones: "0123456789abcdef0123456789abcdef" is there twice; write it once`},
		{"Cloudflare without a token", "mitigate:\n  targets:\n    - {name: a, type: cloudflare, account: 0123456789abcdef0123456789abcdef, zones: [0123456789abcdef0123456789abcdef]}\n", `:3: mitigate.targets[0].token: it is empty; write file:PATH or env:NAME of an API token for the account's lists and the zones' WAF`},
		{"an API that would be shown the token in the clear", "mitigate:\n  targets:\n    - {name: a, type: cloudflare, address: 'http://api.example', account: 0123456789abcdef0123456789abcdef, zones: [0123456789abcdef0123456789abcdef], token: 'env:T'}\n", `:3: mitigate.targets[0].address: "http://api.example" would show the token to the network; leave it out, or write the URL of another API such as https://api.cloudflare.com/client/v4`},
		{"more than Cloudflare can be compared with", "mitigate:\n  targets:\n    - {name: a, type: cloudflare, account: 0123456789abcdef0123456789abcdef, zones: [0123456789abcdef0123456789abcdef], token: 'env:T', capacity: 100000}\n", `:3: mitigate.targets[0].capacity: 100000 is out of range; write 1 to 20000, or 0 for 9000`},
		{"two writers of one account", "mitigate:\n  targets:\n    - {name: a, type: cloudflare, account: 0123456789abcdef0123456789abcdef, zones: [0123456789abcdef0123456789abcdef], token: 'env:T'}\n    - {name: b, type: cloudflare, account: 0123456789abcdef0123456789abcdef, zones: [fedcba9876543210fedcba9876543210], token: 'env:T'}\n", `:4: mitigate.targets[1].account: target a writes the lists of this account already, and Cloudflare changes one at a time; write one target, with all the zones`},
		{"a server for Envoys that everybody may ask", "mitigate:\n  targets:\n    - {name: a, type: envoy, address: 'tcp:127.0.0.1:18000'}\n", `:3: mitigate.targets[0].address: "tcp:127.0.0.1:18000" lets every user of the machine in; write unix:/run/offpath/envoy.sock, tcp:127.0.0.1:18000 with a token, or tcp:192.0.2.1:18000 with certificate, key and ca`},
		{"a server for Envoys elsewhere without TLS", "mitigate:\n  targets:\n    - {name: a, type: envoy, address: 'tcp:192.0.2.1:18000', token: 'env:T'}\n", `:3: mitigate.targets[0].address: "tcp:192.0.2.1:18000" is not loopback, and verdicts would go in the clear; write unix:/run/offpath/envoy.sock, tcp:127.0.0.1:18000 with a token, or tcp:192.0.2.1:18000 with certificate, key and ca`},
		{"a server for Envoys of no address", "mitigate:\n  targets:\n    - {name: a, type: envoy, address: 'lb1:18000', token: 'env:T'}\n", `:3: mitigate.targets[0].address: "lb1:18000" is no address to listen at; write unix:/run/offpath/envoy.sock, tcp:127.0.0.1:18000 with a token, or tcp:192.0.2.1:18000 with certificate, key and ca`},
		{"a certificate without its key", "mitigate:\n  targets:\n    - {name: a, type: envoy, address: 'tcp:192.0.2.1:18000', token: 'env:T', certificate: /a.pem}\n", `:3: mitigate.targets[0].key: it is empty; write file:PATH or env:NAME of the key of the certificate`},
		{"a key without its certificate", "mitigate:\n  targets:\n    - {name: a, type: envoy, address: 'unix:/a', key: 'file:/k'}\n", `:3: mitigate.targets[0].certificate: it is empty; write the PEM file of what Envoys are shown, or leave out key and ca`},
		{"a certificate, and nobody kept out", "mitigate:\n  targets:\n    - {name: a, type: envoy, address: 'tcp:192.0.2.1:18000', certificate: /a.pem, key: 'file:/k'}\n", `:3: mitigate.targets[0].ca: it is empty; write the PEM file of who may vouch for Envoys, or give a token`},
		{"a list to fetch at no address to listen on", "mitigate:\n  targets:\n    - {name: a, type: crowdsec, address: 'https://lapi:8080/', token: 'env:K'}\n", `:3: mitigate.targets[0].address: "https://lapi:8080/" is neither unix:PATH nor tcp:HOST:PORT; it is where consumers fetch from: write tcp:127.0.0.1:8080 or unix:/run/offpath/crowdsec.sock`},
		{"a list to fetch without a key", "mitigate:\n  targets:\n    - {name: a, type: feed, address: 'tcp:127.0.0.1:9322'}\n", `:3: mitigate.targets[0].token: it is empty; write file:PATH or env:NAME of the keys that consumers come with, one a line`},
		{"a list to fetch beyond loopback without TLS", "mitigate:\n  targets:\n    - {name: a, type: feed, address: 'tcp:0.0.0.0:9322', token: 'env:K'}\n", `:3: mitigate.targets[0].address: "tcp:0.0.0.0:9322" is not loopback and so needs certificate and key; set them or listen on tcp:127.0.0.1:9322`},
		{"a certificate without its key", "mitigate:\n  targets:\n    - {name: a, type: crowdsec, address: 'tcp:127.0.0.1:8080', token: 'env:K', certificate: /c.pem}\n", `:3: mitigate.targets[0].key: it is empty; write file:PATH or env:NAME of the key of the certificate`},
		{"a key without its certificate", "mitigate:\n  targets:\n    - {name: a, type: feed, address: 'tcp:127.0.0.1:8080', token: 'env:K', key: 'env:P'}\n", `:3: mitigate.targets[0].certificate: it is empty; write the PEM file of what consumers are shown, or leave out key`},
		{"a key of another type of target", "mitigate:\n  targets:\n    - {name: a, type: webhook, address: 'https://fraud.example/', secret: 'env:S', map_dir: /a}\n", `:3: mitigate.targets[0].map_dir: a target of type webhook has no such key; remove it`},
		{"nftables elsewhere", "mitigate:\n  targets:\n    - {name: a, type: nftables, address: 'tcp:lb1:22', ports: [443]}\n", `:3: mitigate.targets[0].address: "tcp:lb1:22" is not local; write that, or nothing: it is the kernel of the host and network namespace that offpath runs in`},
		{"nftables without ports", "mitigate:\n  targets:\n    - {name: a, type: nftables}\n", `:3: mitigate.targets[0].ports: it has 0 ports; write 1 to 64, such as [80, 443]`},
		{"a port that is none", "mitigate:\n  targets:\n    - {name: a, type: nftables, ports: [443, https]}\n", `:3: mitigate.targets[0].ports: "https" is no port; write a number from 1 to 65535`},
		{"two of nftables", "mitigate:\n  targets:\n    - {name: a, type: nftables, ports: [80]}\n    - {name: b, type: nftables, ports: [443]}\n", `:3: mitigate.targets[0].type: there are 2 of type nftables, and one kernel; write one with all the ports`},
		{"a gobgpd on another host", "mitigate:\n  targets:\n    - {name: a, type: gobgp, address: 'tcp:192.0.2.1:50051', method: rtbh}\n", `:3: mitigate.targets[0].address: "tcp:192.0.2.1:50051" is not on this host: the API asks nobody who he is; write tcp:127.0.0.1:50051 or unix:/run/gobgpd.sock, or leave it out`},
		{"a gobgpd without a method", "mitigate:\n  targets:\n    - {name: a, type: gobgp, destinations: [198.51.100.0/24]}\n", `:3: mitigate.targets[0].method: "" is neither flowspec nor rtbh; write one of them`},
		{"FlowSpec that protects nothing", "mitigate:\n  targets:\n    - {name: a, type: gobgp, method: flowspec}\n", `:3: mitigate.targets[0].destinations: it has 0 networks; write 1 to 16 that are to be protected, such as [198.51.100.0/24]`},
		{"a destination that is no network", "mitigate:\n  targets:\n    - {name: a, type: gobgp, method: flowspec, destinations: [198.51.100.7/24]}\n", `:3: mitigate.targets[0].destinations: "198.51.100.7/24" is no network; write one such as 198.51.100.0/24`},
		{"blackholes that lead nowhere", "mitigate:\n  targets:\n    - {name: a, type: gobgp, method: rtbh}\n", `:3: mitigate.targets[0].next_hops: it is empty; write what routers discard, such as [192.0.2.1, "100::1"]`},
		{"two next hops of a family", "mitigate:\n  targets:\n    - {name: a, type: gobgp, method: rtbh, next_hops: [192.0.2.1, 192.0.2.2]}\n", `:3: mitigate.targets[0].next_hops: 192.0.2.2 is no address of a host, or the second of its family; write one of each, such as [192.0.2.1, "100::1"]`},
		{"more routes than there may be", "mitigate:\n  targets:\n    - {name: a, type: gobgp, method: rtbh, next_hops: [192.0.2.1], capacity: 100001}\n", `:3: mitigate.targets[0].capacity: 100001 routes; write 1 to 100000, or leave it out`},
		{"two of one gobgpd", "mitigate:\n  targets:\n    - {name: a, type: gobgp, method: rtbh, next_hops: [192.0.2.1]}\n    - {name: b, type: gobgp, method: rtbh, next_hops: [192.0.2.2]}\n", `:3: mitigate.targets[0].method: a and b are the same gobgpd with method rtbh; write one, with all the destinations`},
		{"policies that are no list", "detect:\n  policies: tag\n", `:2: detect.policies: "tag" is not a list; write each policy as an item of its own, "- name: …"`},
		{"an unknown key of a policy", "detect:\n  policies:\n    - name: account-takeover\n      acton: none\n", `:4: unknown key "detect.policies[0].acton"; the nearest known key is "detect.policies[0].action"`},
		{"an unknown key of a rate", "detect:\n  policies:\n    - name: credential-stuffing\n      rate: {request: 10}\n", `:4: unknown key "detect.policies[0].rate.request"; the nearest known key is "detect.policies[0].rate.requests"`},
		{"a policy whose action is a list", "detect:\n  policies:\n    - name: account-takeover\n      action: [none]\n", `:4: detect.policies[0].action: a list is not a single value`},
		{"a policy that lasts no time", "detect:\n  policies:\n    - name: account-takeover\n      ttl: 10\n", `:4: detect.policies[0].ttl: "10" is not a duration; write a number with its unit, such as 90s, 15m or 24h`},
		{"a policy of an unknown name", "detect:\n  policies:\n    - name: account-takeover\n    - name: carding\n", `:4: detect.policies[1].when: it is missing; "carding" is none of the predefined policies, which are credential-stuffing, credential-cracking, password-spraying, account-takeover, and one of your own needs a condition, such as 'endpoint.role == "login" && entity.failures > 30'`},
		{"a policy without a name", "detect:\n  policies:\n    - action: tag\n", `:3: detect.policies[0].name: "" is no name of a policy; write lower-case letters, digits and '-'`},
		{"a condition that is none", "detect:\n  policies:\n    - name: mine\n      per: api_key\n      when: |\n        endpoint.role == \"login\" &&\n        entity.request > 30\n", `:5: detect.policies[0].when: at line 2, character 7: "entity.request" is no name and no function; there is entity.requests, entity.logins, entity.failures, entity.successes, entity.errors, entity.accounts, entity.endpoints, entity.clients`},
		{"a policy that counts by what there is not", "detect:\n  policies:\n    - name: mine\n      when: entity.requests > 30\n      per: [client.ip, ip]\n", `:5: detect.policies[0].per: "ip" is none of client.ip, fingerprint, user_agent, ja4, session, api_key, user, endpoint`},
		{"a policy that counts by a section", "detect:\n  policies:\n    - name: mine\n      per: {client: ip}\n", `:4: detect.policies[0].per: a section is not a single value`},
		{"a limit without its rate", "detect:\n  policies:\n    - name: credential-stuffing\n      mode: monitor\n      action: rate_limit\n", `:3: detect.policies[0].rate: it is missing; rate_limit needs one, such as {requests: 10, per: 60s}`},
		{"a block of an account", "detect:\n  policies:\n    - name: account-takeover\n      action: block\n", `:4: detect.policies[0].action: "block" needs something that a load balancer can match, and this policy is about accounts; write hold or none`},
		{"overrides that are no list", "detect:\n  overrides: login\n", `:2: detect.overrides: "login" is not a list; write each override as an item of its own, "- when: …"`},
		{"an unknown key of an override", "detect:\n  overrides:\n    - when: 'true'\n      roll: login\n", `:4: unknown key "detect.overrides[0].roll"; the nearest known key is "detect.overrides[0].role"`},
		{"an override of an unknown role", "detect:\n  overrides:\n    - when: 'true'\n      role: entry\n", `:4: detect.overrides[0].role: "entry" is none of login, refresh, sign_up, password_reset, password_change, second_factor, logout, transfer, payee, checkout, search, health, none`},
		{"an override without a condition", "detect:\n  overrides:\n    - role: login\n", `:3: detect.overrides[0].when: it is missing; write which requests are meant, such as 'url.path == "/enter"'`},
		{"no broker", "stream:\n  brokers: [kafka1]\n", `:2: stream.brokers: "kafka1" is not HOST:PORT; write each broker as kafka1.example:9092`},
		{"a broker without a port", "stream:\n  brokers: ['kafka1:']\n", `:2: stream.brokers: "kafka1:" has no port from 1 to 65535; write each broker as kafka1.example:9092`},
		{"no topic", "stream:\n  verdicts_topic: a b\n", `:2: stream.verdicts_topic: "a b" is no name of a topic; write letters, digits, '.', '_' and '-'`},
		{"one topic for both", "stream:\n  verdicts_topic: offpath.transactions\n", `:2: stream.verdicts_topic: "offpath.transactions" is the topic of transactions already; verdicts need their own`},
		{"no group", "stream:\n  group: ''\n", `:2: stream.group: "" is no name of a consumer group; write one such as offpath-detect`},
		{"one file for two outputs", "output:\n  findings: /a/b\n  verdicts: /a/./b\n", `:3: output.verdicts: "/a/./b" is the file of output.findings already; give each its own`},
		{"a socket at a relative path", "admin:\n  socket: admin.sock\n", `:2: admin.socket: "admin.sock" is not an absolute path; write one such as /run/offpath/admin.sock`},
		{"no address to listen on", "admin:\n  listen: localhost\n", `:2: admin.listen: "localhost" is not HOST:PORT; write one such as 127.0.0.1:9321`},
		{"no port to listen on", "admin:\n  listen: localhost:http\n", `:2: admin.listen: "localhost:http" has no port from 0 to 65535; write one such as 127.0.0.1:9321`},
		{"beyond loopback without a token", "admin:\n  listen: 0.0.0.0:9321\n", `:2: admin.listen: "0.0.0.0:9321" is not loopback and so needs admin.token, admin.tls_cert and admin.tls_key; set them or listen on 127.0.0.1`},
		{"on all addresses without a token", "admin:\n  listen: ':9321'\n", `:2: admin.listen: ":9321" is not loopback and so needs admin.token, admin.tls_cert and admin.tls_key; set them or listen on 127.0.0.1`},
		{"beyond loopback without TLS", "admin:\n  listen: 0.0.0.0:9321\n  token: env:T\n", `:2: admin.listen: "0.0.0.0:9321" is not loopback and so needs admin.token, admin.tls_cert and admin.tls_key; set them or listen on 127.0.0.1`},
		{"a certificate without its key", "admin:\n  tls_cert: /a\n", `:2: admin.tls_cert: it works only together with admin.tls_key; set both or neither`},
		{"a baseline out of range", "detect:\n  baseline: 0.7\n", `:2: detect.baseline: 0.7 is out of range; write a share from 0.01 to 0.6`},
		{"a false alarm out of range", "detect:\n  false_alarm: 0.5\n", `:2: detect.false_alarm: 0.5 is out of range; write a chance from 1e-12 to 0.01`},
		{"a known good share out of range", "detect:\n  known_good_share: 0\n", `:2: detect.known_good_share: 0 is out of range; write a share above 0 and up to 1`},
		{"a verdict that lasts too long", "detect:\n  verdict_ttl_max: 25h\n", `:2: detect.verdict_ttl_max: 25h0m0s is out of range; write a duration from 1s to 24h`},
		{"a first verdict longer than the longest", "detect:\n  verdict_ttl_max: 5m\n", `: detect.verdict_ttl: 10m0s is out of range; write a duration from 1s to detect.verdict_ttl_max, 5m0s`},
		{"a site map beyond bounds", "detect:\n  sitemap: 100000\n", `:2: detect.sitemap: 100000 is out of range; write a number from 0 to 65536`},
		{"a specification and nothing to compare", "detect:\n  sitemap: 0\n  specification: bank.yaml\n", `:3: detect.specification: it is compared with the site map, and detect.sitemap: 0 says that none is kept; write a number of endpoints there, such as 4096`},
		{"too many verdicts", "detect:\n  verdicts: 0\n", `:2: detect.verdicts: 0 is out of range; write a number from 1 to 1048576`},
		{"too few clients", "detect:\n  clients: 1\n", `:2: detect.clients: 1 is out of range; write a number from 64 to 67108864`},
		{"no state folder", "state:\n  dir: ''\n", `:2: state.dir: "" is no folder; write a path such as /var/lib/offpath`},
		{"no level", "log:\n  level: verbose\n", `:2: log.level: "verbose" is none of debug, info, warn, error; did you mean "error"?`},
		{"no format", "log:\n  format: jsn\n", `:2: log.format: "jsn" is none of auto, text, json; did you mean "json"?`},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := write(t, test.text)
			_, err := Load(path, nil)
			var mistake *Error
			require.ErrorAs(t, err, &mistake)
			assert.Equal(t, path+test.want, err.Error())
		})
	}
}

func TestTheEnvironmentWinsOverTheFile(t *testing.T) {
	path := write(t, "capture:\n  interfaces: [eth1]\n  workers: 1\n")
	c, err := Load(path, []string{
		"OFFPATH_CAPTURE_INTERFACES=eth2, eth3,", "OFFPATH_CAPTURE_WORKERS=2", "OFFPATH_ADMIN_LISTEN=",
		"OFFPATH_CLIENT_ALLOW=192.0.2.0/24,2001:db8::1", "OFFPATH_DETECT_VERDICT_TTL=1h",
		"OFFPATH_MITIGATE_TARGETS=[{name: lb1, type: haproxy, address: 'unix:/a'}]", "OFFPATH_DETECT_POLICIES=[{name: account-takeover, action: none}]", "PATH=/bin",
	})
	require.NoError(t, err)
	assert.Equal(t, []string{"eth2", "eth3"}, c.Capture.Interfaces)
	assert.Equal(t, 2, c.Capture.Workers)
	assert.Empty(t, c.Admin.Listen)
	assert.Equal(t, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::1/128")}, c.Client.Allow)
	assert.Equal(t, time.Hour, c.Detect.VerdictTTL)
	assert.Equal(t, []Target{{Name: "lb1", Type: "haproxy", Address: "unix:/a"}}, c.Mitigate.Targets)
	assert.Equal(t, []policy.Statement{{Name: policy.Takeover, Action: "none"}}, c.Detect.Policies)
	assert.Empty(t, c.Warnings)
}

func TestMistakesInTheEnvironmentNameTheVariable(t *testing.T) {
	for _, test := range []struct{ name, variable, want string }{
		{"a bad number", "OFFPATH_CAPTURE_WORKERS=x", `OFFPATH_CAPTURE_WORKERS: capture.workers: "x" is not a whole number; write digits alone`},
		{"a bad item of a list", "OFFPATH_CLIENT_ALLOW=192.0.2.1,lb", `OFFPATH_CLIENT_ALLOW: client.allow: "lb" is neither an address nor a network; write it as 192.0.2.1 or 192.0.2.0/24`},
		{"a value that fails the check", "OFFPATH_MITIGATE_MODE=on", `OFFPATH_MITIGATE_MODE: mitigate.mode: "on" is none of off, monitor, enforce; did you mean "off"?`},
		{"targets that are none", "OFFPATH_MITIGATE_TARGETS=lb1", `OFFPATH_MITIGATE_TARGETS: mitigate.targets: "lb1" is not a list of targets; write it as [{name: lb1, type: haproxy, address: "unix:/run/haproxy/admin.sock"}]`},
		{"a target that fails the check", "OFFPATH_MITIGATE_TARGETS=[{name: lb1, type: haprox}]", `OFFPATH_MITIGATE_TARGETS: mitigate.targets[0].type: "haprox" is none of ` + strings.Join(TargetTypes(), ", ") + `; did you mean "haproxy"?`},
		{"an unknown key of a target", "OFFPATH_MITIGATE_TARGETS=[{nam: lb1}]", `OFFPATH_MITIGATE_TARGETS: unknown key "mitigate.targets[0].nam"; the nearest known key is "mitigate.targets[0].name"`},
		{"policies that are none", "OFFPATH_DETECT_POLICIES=tag", `OFFPATH_DETECT_POLICIES: detect.policies: "tag" is not a list of policies; write it as [{name: credential-stuffing, action: tag}]`},
		{"a policy that fails the check", "OFFPATH_DETECT_POLICIES=[{name: carding}]", `OFFPATH_DETECT_POLICIES: detect.policies[0].when: it is missing; "carding" is none of the predefined policies, which are credential-stuffing, credential-cracking, password-spraying, account-takeover, and one of your own needs a condition, such as 'endpoint.role == "login" && entity.failures > 30'`},
		{"overrides that are none", "OFFPATH_DETECT_OVERRIDES=login", `OFFPATH_DETECT_OVERRIDES: detect.overrides: "login" is not a list of overrides; write it as [{when: 'url.path == "/enter"', role: login}]`},
		{"a secret given as it is", "OFFPATH_HASH_KEY=secretsecretsecret", `OFFPATH_HASH_KEY: hash.key: not a reference to a secret; write file:PATH or env:NAME, never the secret itself`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Load(write(t, ""), []string{test.variable})
			require.Error(t, err)
			assert.Equal(t, test.want, err.Error())
		})
	}
}

func TestVariablesThatAreNoSettingsAreWarnedOf(t *testing.T) {
	c, err := Load(write(t, ""), []string{"OFFPATH_MITGATE_MODE=enforce"})
	require.NoError(t, err)
	assert.Equal(t, []string{"environment variable OFFPATH_MITGATE_MODE is no setting; the nearest is OFFPATH_MITIGATE_MODE"}, c.Warnings)
}

func TestAMissingFileIsAnErrorOnlyWhenNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.yaml")
	_, err := Load(path, nil)
	assert.EqualError(t, err, path+": read configuration: no such file or directory")

	if _, err := os.Stat(DefaultPath); err == nil {
		t.Skip(DefaultPath + " exists on this machine")
	}
	c, err := Load("", nil)
	require.NoError(t, err)
	assert.Equal(t, Default(), c)
}

func TestPrintGivesAFileThatReadsTheSame(t *testing.T) {
	want, err := Load(write(t, `
capture: {interfaces: [eth1]}
client: {allow: ["::/0", 10.0.0.0/8]}
hash: {key: "file:/etc/key"}
detect: {false_alarm: 1e-9, verdict_ttl: 90s, overrides: [{when: 'url.path == "/enter"', role: login}, {when: "true", outcome: unknown}], policies: [{name: credential-stuffing, action: rate_limit, rate: {requests: 10, per: 60s}, mode: monitor, ttl: 1h, ttl_max: 2h}, {name: account-takeover, action: none}, {name: mine, when: 'entity.requests > 30 && transaction.url.path == "/a"', per: [api_key, endpoint], window: 30s}, {name: other, when: "true", per: session}]}
mitigate: {targets: [{name: lb1, type: haproxy, address: "unix:/a"}, {name: lb4, type: haproxy_dataplane, address: "https://lb4:5555", user: u, password: "env:P", ca: /ca.pem, map_dir: /srv/maps, api_version: 2, deceive_status: 401, tarpit: 2s}, {name: bouncers, type: crowdsec, address: "tcp:0.0.0.0:8080", token: "file:/k", certificate: /c.pem, key: "file:/k.pem"}, {name: lists, type: feed, address: "unix:/f.sock", token: "env:K"}, {name: lb3, type: nginx, address: "https://lb3.example:9180", conf_dir: /opt/nginx/offpath, token: "file:/t", ca: /ca.pem}, {name: fraud, type: webhook, address: "https://fraud.example/", secret: "env:S", secret_previous: "file:/s", ca: /ca.pem}, {name: host, type: nftables, ports: [80, 443]}, {name: mesh, type: envoy, address: "tcp:192.0.2.1:18000", token: "env:T", ca: /ca.pem, certificate: /c.pem, key: "file:/k"}, {name: lb2, type: nginx_plus, address: "https://lb2:1", ca: /ca.pem, user: u, password: "env:P"}, {name: big, type: f5_bigip, address: "https://b", ca: /ca.pem, user: u, password: "env:P", partition: waf}, {name: adc, type: netscaler, address: "https://adc", ca: /ca.pem, user: u, password: "env:P"}, {name: plain, type: nginx_file, address: "unix:/s", conf_dir: /srv/offpath, pid_file: /run/n.pid, program: /opt/nginx, reload_interval: 10s}, {name: edge, type: aws_waf, region: us-east-1, scope: cloudfront, group: bank, access_key: k, secret: "env:S", session_token: "file:/t"}, {name: cdn, type: cloudflare, address: "https://a/v4", account: 0123456789abcdef0123456789abcdef, zones: [fedcba9876543210fedcba9876543210], token: "env:T", capacity: 500}, {name: routers, type: gobgp, method: flowspec, destinations: [198.51.100.0/24], ports: [443], capacity: 500}, {name: holes, type: gobgp, address: "unix:/g.sock", method: rtbh, next_hops: [192.0.2.1]}]}
`), nil)
	require.NoError(t, err)
	var printed bytes.Buffer
	require.NoError(t, want.Print(&printed))
	got, err := Load(write(t, printed.String()), nil)
	require.NoError(t, err)
	assert.Empty(t, Changed(want, got))
	assert.Equal(t, want.Client, got.Client)
	assert.Equal(t, want.Mitigate, got.Mitigate)
	assert.Equal(t, want.Detect.Policies, got.Detect.Policies)
	assert.Equal(t, []override.Statement{{When: `url.path == "/enter"`, Role: "login"}, {When: "true", Outcome: "unknown"}}, got.Detect.Overrides)
	assert.Equal(t, []policy.Statement{
		{Name: policy.Stuffing, Action: "rate_limit", Rate: policy.Rate{Requests: 10, Per: time.Minute}, Mode: "monitor", TTL: time.Hour, TTLMax: 2 * time.Hour},
		{Name: policy.Takeover, Action: "none"},
		{Name: "mine", When: `entity.requests > 30 && transaction.url.path == "/a"`, Per: []string{"api_key", "endpoint"}, Window: 30 * time.Second},
		{Name: "other", When: "true", Per: []string{"session"}},
	}, got.Detect.Policies)
}

func TestEverySettingIsDocumentedAndOfAKnownType(t *testing.T) {
	for _, s := range settings(Default()) {
		assert.NotEmpty(t, s.doc, s.path())
		assert.NotPanics(t, func() { _ = setFromText(s.field, "1") }, s.path())
	}
}

func TestChangedNamesTheSettingsThatDiffer(t *testing.T) {
	a, b := Default(), Default()
	assert.Empty(t, Changed(a, b))
	b.Mitigate.Mode, b.Capture.Interfaces = "off", []string{"eth9"}
	assert.Equal(t, []string{"capture.interfaces", "mitigate.mode"}, Changed(a, b))
}

func TestCommandsSayWhichSettingTheyNeed(t *testing.T) {
	c := Default()
	assert.EqualError(t, c.RequireInterfaces("run"), "configuration: capture.interfaces: it is empty; `offpath run` needs the interface of a mirror port, such as [eth1]")
	c.Path = "/etc/o.yaml"
	assert.EqualError(t, c.RequireBrokers("sensor"), "/etc/o.yaml: stream.brokers: it is empty; `offpath sensor` needs a Kafka broker, such as [kafka1.example:9092]")
	assert.NoError(t, c.RequireSocket("off"))
	c.Admin.Socket = ""
	assert.EqualError(t, c.RequireSocket("off"), "/etc/o.yaml: admin.socket: it is empty; `offpath off` needs the socket of a running offpath")
}

func FuzzLoadGivesAConfigurationOrOneError(f *testing.F) {
	f.Add([]byte("capture:\n  interfaces: [eth1]\n"))
	f.Add([]byte("mitigate: {targets: [{name: a, type: haproxy, address: unix:/a}]}"))
	f.Add([]byte("detect: {policies: [{name: credential-stuffing, action: rate_limit, rate: {requests: 10, per: 60s}}]}"))
	f.Add([]byte("detect: {policies: [{name: mine, when: 'endpoint.role == \"login\" && entity.requests > 30', per: [client.ip, endpoint], window: 30s}]}"))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("admin: &x {listen: ''}\nlog: *x\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parse("f.yaml", text, nil)
		if (c == nil) == (err == nil) {
			t.Fatalf("config %v, error %v: exactly one expected", c, err)
		}
		if err == nil {
			return
		}
		if _, ok := err.(*Error); !ok {
			t.Fatalf("error %v is a %T", err, err)
		}
		if bytes.ContainsAny([]byte(err.Error()), "\r\n") {
			t.Fatalf("error %q has several lines", err)
		}
	})
}

func TestIPv4MappedNetworksAreThoseOfTheClientsThatAreSeen(t *testing.T) {
	for text, want := range map[string]string{
		"::ffff:192.0.2.7": "192.0.2.7/32", "::ffff:10.0.0.0/104": "10.0.0.0/8", "::ffff:0.0.0.0/96": "0.0.0.0/0",
		"::/64": "::/64", "2001:db8::/32": "2001:db8::/32", "10.0.0.0/8": "10.0.0.0/8",
	} {
		network, err := ParseNetwork(text)
		require.NoError(t, err)
		assert.Equal(t, want, network.String())
	}
}
