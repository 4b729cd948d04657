package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/cmd/offpath/internal/config"
)

func TestWrongInputGetsOneClearLineAndTheRightStatus(t *testing.T) {
	folder := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(folder, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	capture := attack(t).save("attack.pcapng")
	empty := file("empty.pcap", "")
	text := file("text.pcap", "this is no capture at all, however long it may be")
	typo := file("typo.yaml", "mitigate:\n  mode: monitor\n  target: []\n")
	lines := file("lines.jsonl", "{}\n")
	none := filepath.Join(folder, "none")
	require.NoError(t, os.Mkdir(filepath.Join(folder, "folder"), 0o700))

	for _, test := range []struct {
		name   string
		args   []string
		status int
		want   string
	}{
		{"no command", nil, 2, "offpath: a command is missing; `offpath help` lists them"},
		{"an unknown command", []string{"rnu"}, 2, "offpath: unknown command \"rnu\"; `offpath help` lists them"},
		{"a command of a later version", []string{"doctor"}, 2, "offpath: unknown command \"doctor\"; `offpath help` lists them"},
		{"an unknown flag", []string{"replay", "--transaction", "-", capture}, 2, "offpath replay: unknown flag --transaction; `offpath help replay` lists them"},
		{"a flag without its value", []string{"replay", capture, "--findings"}, 2, "offpath replay: flag --findings needs a value"},
		{"a flag with a wrong value", []string{"replay", "--workers", "two", capture}, 2, "offpath replay: --workers: \"two\" is no value for it; `offpath help replay` says which are"},
		{"too many workers", []string{"replay", "--workers", "300", capture}, 2, "offpath replay: --workers: 300 is out of range; write a number from 1 to 256"},
		{"a negative speed", []string{"replay", "--speed", "-1", capture}, 2, "offpath replay: --speed: -1 is out of range; write a factor such as 1 or 60, or 0 for as fast as possible"},
		{"unknown detail", []string{"replay", "--detail", "headers,tails", capture}, 2, `offpath replay: --detail: "tails" is none of headers, bodies, tls, websocket, sensitive`},
		{"a time that is none", []string{"replay", "--from", "noon", capture}, 2, `offpath replay: --from: "noon" is no time; write it as 2026-01-31T09:00:00Z`},
		{"an end before the beginning", []string{"replay", "--from", "2026-02-01", "--to", "2026-01-01", capture}, 2, "offpath replay: --to: 2026-01-01 lies before --from, 2026-02-01"},
		{"a filter that names no field", []string{"replay", "--filter", "http.method == 'POST'", capture}, 2, `offpath replay: --filter: at character 5: there is no field "method" here; there is http.request.method`},
		{"a filter that is no condition", []string{"replay", "--filter", "url.path", capture}, 2, `offpath replay: --filter: it says string, not whether to pick a transaction; compare it with something, as in http.request.method == "POST"`},
		{"a key that is no reference", []string{"replay", "--hash-key", "swordfish", capture}, 2, "offpath replay: --hash-key: not a reference to a secret; write file:PATH or env:NAME, never the secret itself"},
		{"no input", []string{"replay"}, 2, `offpath replay: INPUT is missing; name a capture, a folder, or "-" for standard input`},
		{"a missing file", []string{"replay", none + ".pcap"}, 2, "offpath replay: " + none + ".pcap: no such file or directory"},
		{"a file that is no capture", []string{"replay", text}, 2, "offpath replay: " + text + ": not a capture (neither pcap nor pcapng)"},
		{"an empty file", []string{"replay", empty}, 2, "offpath replay: " + empty + ": the file is empty"},
		{"a folder without captures", []string{"replay", filepath.Join(folder, "folder")}, 2, "offpath replay: " + filepath.Join(folder, "folder") + ": the folder holds no captures"},
		{"a missing file of transactions", []string{"replay", none + ".jsonl"}, 2, "offpath replay: " + none + ".jsonl: no such file or directory"},
		{"a file of something else than transactions", []string{"replay", lines}, 2, "offpath replay: " + lines + " is no file of transactions: line 1: no @timestamp"},
		{"packets and transactions at once", []string{"replay", capture, lines}, 2, "offpath replay: " + lines + " holds transactions and other inputs hold packets; replay them apart"},
		{"detail that is not there any more", []string{"replay", "--detail", "headers", lines}, 2, "offpath replay: --detail and --cleartext need packets; in files of transactions these things are settled"},
		{"a missing server key", []string{"replay", "--config", file("key.yaml", "tls: {keys: ["+none+".pem]}"), capture}, 2, "offpath replay: tls.keys: " + none + ".pem: no such file or directory"},
		{"a server key that is none", []string{"replay", "--config", file("text.yaml", "tls: {keys: ["+text+"]}"), capture}, 2, "offpath replay: tls.keys: " + text + ": no RSA private key in the PEM text"},
		{"a database of networks that is missing", []string{"replay", "--config", file("as.yaml", "detect: {as_database: "+none+".mmdb}"), capture}, 2, "offpath replay: " + folder + "/as.yaml: detect.as_database: " + none + ".mmdb can't be opened: no such file or directory"},
		{"one that is none", []string{"replay", "--config", file("country.yaml", "detect: {country_database: "+text+"}"), capture}, 2, "offpath replay: " + folder + "/country.yaml: detect.country_database: " + text + " is no MMDB database: error opening database: invalid MaxMind DB file"},
		{"two outputs into one", []string{"replay", "--findings", "-", "--verdicts", "-", capture}, 2, "offpath replay: --findings and --verdicts both name standard output; give each its own"},
		{"an output over its input", []string{"replay", "--transactions", capture, capture}, 2, "offpath replay: --transactions names the input " + capture + ", which it would overwrite"},
		{"an output into a folder that is not there", []string{"replay", "--transactions", none + "/a", capture}, 1, "offpath replay: open output: open " + none + "/a: no such file or directory"},
		{"mitigation without load balancers", []string{"replay", "--mitigate", capture}, 2, "offpath replay: --mitigate: the configuration has no mitigate.targets to send verdicts to"},
		{"a missing configuration", []string{"check", "--config", none + ".yaml"}, 2, "offpath check: " + none + ".yaml: read configuration: no such file or directory"},
		{"an unknown key in the configuration", []string{"run", "--config", typo}, 2, "offpath run: " + typo + `:3: unknown key "mitigate.target"; the nearest known key is "mitigate.targets"`},
		{"no interface to listen on", []string{"run", "--config", file("no.yaml", "")}, 2, "offpath run: " + folder + "/no.yaml: capture.interfaces: it is empty; `offpath run` needs the interface of a mirror port, such as [eth1]"},
		{"no broker", []string{"detect", "--config", file("no.yaml", "")}, 2, "offpath detect: " + folder + "/no.yaml: stream.brokers: it is empty; `offpath detect` needs a Kafka broker, such as [kafka1.example:9092]"},
		{"an argument to a command without", []string{"off", "now"}, 2, `offpath off: "now" is one argument too many; it takes flags alone`},
		{"no id to lift", []string{"lift"}, 2, "offpath lift: ID is missing; write for example `offpath lift 4f2a90c1d2e3b4a5`"},
		{"an id that is none", []string{"lift", "everything"}, 2, `offpath lift: verdict id "everything" is not 16 hex digits; the id stands in event.id of the verdict`},
		{"an unknown target", []string{"target-config", "lb9"}, 2, `offpath target-config: "lb9" is neither a type of target (` + strings.Join(config.TargetTypes(), ", ") + `) nor the name of one in the configuration`},
		{"nobody to give orders to", []string{"off", "--config", file("sock.yaml", "admin: {socket: "+none+".sock}")}, 1, "offpath off: no offpath runs here: admin socket " + none + ".sock does not exist (admin.socket in the configuration says where it is)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := run(t, test.args...)
			assert.Equal(t, test.want+"\n", r.stderr)
			assert.Empty(t, r.stdout)
			assert.Equal(t, test.status, r.status)
		})
	}
}

func TestStandardInputThatIsNoCaptureIsSaidSo(t *testing.T) {
	for _, test := range []struct{ name, input, want string }{
		{"nothing", "", "offpath replay: -: the file is empty\n"},
		{"text", "this is no capture at all, however long it may be", "offpath replay: -: not a capture (neither pcap nor pcapng)\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := command("replay", "-")
			c.Stdin = strings.NewReader(test.input)
			r := finish(t, c)
			assert.Equal(t, test.want, r.stderr)
			assert.Equal(t, 2, r.status)
		})
	}
}

func TestAnOutputThatCanNotBeWrittenIsAnError(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("needs /dev/full, a device that is always full")
	}
	r := run(t, "replay", "--transactions", "/dev/full", attack(t).save("attack.pcapng"))
	assert.Equal(t, "offpath replay: write output to /dev/full: no space left on device\n", r.stderr)
	assert.Equal(t, 1, r.status)
}

func TestAnUnknownInterfaceIsAWrongConfiguration(t *testing.T) {
	r := finish(t, service(t, "run", "OFFPATH_CAPTURE_INTERFACES=nosuchif0"))
	assert.Regexp(t, `^offpath run: .*nosuchif0: no such interface.*\n$`, r.stderr)
	assert.Equal(t, 1, strings.Count(r.stderr, "\n"))
	assert.Equal(t, 2, r.status)
}

func TestNoPermissionForTheInterfaceIsSaidSo(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to run as nobody")
	}
	c := service(t, "run", "OFFPATH_CAPTURE_INTERFACES=lo")
	const nobody = 65534
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody, NoSetGroups: true}}
	c.Dir = "/"
	r := finish(t, c)
	assert.Regexp(t, `^offpath run: capture on lo: .*operation not permitted: capture needs the privilege CAP_NET_RAW .*\n$`, r.stderr)
	assert.Equal(t, 1, strings.Count(r.stderr, "\n"))
	assert.Equal(t, 1, r.status)
}

func TestHelpGoesToStandardOutput(t *testing.T) {
	for _, args := range [][]string{{"help"}, {"-h"}, {"--help"}, {"help", "replay"}, {"replay", "-h"}, {"run", "--help"}, {"lift", "-h"}, {"version"}, {"--version"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			r := run(t, args...)
			assert.Equal(t, 0, r.status)
			assert.Empty(t, r.stderr)
			assert.Contains(t, r.stdout, "offpath")
		})
	}
}

func TestFlagsMayStandBehindTheInput(t *testing.T) {
	path := attack(t).save("attack.pcapng")
	before := run(t, "replay", "--transactions", "-", path)
	after := run(t, "replay", path, "--transactions", "-")
	assert.Equal(t, before, after)
	assert.NotEmpty(t, before.stdout)
	assert.Equal(t, 0, before.status)
}

func TestCheckShowsTheConfigurationItWouldUse(t *testing.T) {
	r := run(t, "check", "--print", "--config", save(t, "c.yaml", []byte("capture: {interfaces: [eth7]}\n")))
	assert.Equal(t, 0, r.status)
	assert.Contains(t, r.stdout, "interfaces: [\"eth7\"]")
	again := run(t, "check", "--print", "--config", save(t, "d.yaml", []byte(r.stdout)))
	assert.Equal(t, r.stdout, again.stdout)
}

func TestCheckReachesOutToWhatTheConfigurationNames(t *testing.T) {
	folder := t.TempDir()
	config := "state: {dir: " + folder + "}\n"
	good := run(t, "check", "--config", save(t, "good.yaml", []byte(config)))
	assert.Equal(t, 0, good.status, good.stderr)
	bad := run(t, "check", "--config", save(t, "bad.yaml", []byte(config+
		"detect: {as_database: "+folder+"/none.mmdb}\n"+
		"capture: {interfaces: [nosuchif0]}\nhash: {key: 'file:"+folder+"/nokey'}\n"+
		"mitigate: {targets: [{name: lb1, type: haproxy, address: 'unix:"+folder+"/none.sock'}]}\nstream: {brokers: ['127.0.0.1:1']}\n")))
	assert.Equal(t, 1, bad.status)
	assert.Regexp(t, `(?m)^FAILED  interface nosuchif0 +no such interface`, bad.stdout)
	assert.Regexp(t, `(?m)^FAILED  hash\.key +read secret: `, bad.stdout)
	assert.Regexp(t, `(?m)^FAILED  target lb1 +.*no such file`, bad.stdout)
	assert.Regexp(t, `(?m)^FAILED  broker 127\.0\.0\.1:1 +.*connection refused`, bad.stdout)
	assert.Regexp(t, `(?m)^FAILED  networks +.*detect\.as_database: .*none\.mmdb can't be opened`, bad.stdout)
	assert.Regexp(t, `(?m)^ok +state\.dir`, bad.stdout)
	assert.Equal(t, "offpath check: 5 of the things that the configuration names do not work\n", bad.stderr)
}

func TestCheckListsThePoliciesInForce(t *testing.T) {
	config := "state: {dir: " + t.TempDir() + "}\nmitigate: {mode: enforce}\n" +
		"detect: {policies: [{name: credential-cracking, action: rate_limit, rate: {requests: 10, per: 60s}, mode: monitor, ttl: 1h}, {name: account-takeover, action: none}]}\n"
	r := run(t, "check", "--config", save(t, "c.yaml", []byte(config)))
	assert.Equal(t, 0, r.status, r.stderr)
	assert.Regexp(t, `(?m)^ok +policy credential-stuffing +block \(enforce\) for 10m0s to 24h0m0s: `, r.stdout)
	assert.Regexp(t, `(?m)^ok +policy credential-cracking +rate_limit to 10 requests per 1m0s \(monitor\) for 1h0m0s to 24h0m0s: `, r.stdout)
	assert.Regexp(t, `(?m)^ok +policy account-takeover +finding only: `, r.stdout)
	assert.NotContains(t, r.stdout, "none of the load balancers", "there are none yet")

	folder := t.TempDir()
	config = "state: {dir: " + folder + "}\nmitigate: {targets: [{name: lb1, type: haproxy, address: 'unix:" + folder + "/none.sock'}]}\n" +
		"detect: {policies: [{name: credential-cracking, action: challenge}, {name: mine, when: entity.requests > 30, per: session, action: block}, {name: other, when: entity.requests > 30, per: [client.ip, endpoint], action: tag}]}\n"
	r = run(t, "check", "--config", save(t, "d.yaml", []byte(config)))
	const note = ` \(note: none of the load balancers carries it\)$`
	assert.Regexp(t, `(?m)^ok +policy credential-cracking .*`+note, r.stdout)
	assert.Regexp(t, `(?m)^ok +policy mine +block \(monitor\) for 10m0s to 24h0m0s: your own: entity.requests > 30, per session within 1m0s`+note, r.stdout)
	assert.NotRegexp(t, `policy (other|credential-stuffing|account-takeover) .*none of the load`, r.stdout)
	const untold = ` \(note: nobody is told of it; a target of type webhook would be\)$`
	assert.Regexp(t, `(?m)^ok +policy account-takeover .*`+untold, r.stdout)

	config = "state: {dir: " + folder + "}\nmitigate: {targets: [{name: lb1, type: haproxy, address: 'unix:" + folder + "/none.sock'}, {name: fraud, type: webhook, address: 'http://127.0.0.1:1/', secret: 'file:" + folder + "/none'}]}\n" +
		"detect: {policies: [{name: credential-cracking, action: challenge}]}\n"
	r = run(t, "check", "--config", save(t, "e.yaml", []byte(config)))
	assert.Regexp(t, `(?m)^ok +policy credential-cracking .*`+note, r.stdout, "a webhook keeps nobody out")
	assert.NotContains(t, r.stdout, "nobody is told")
	assert.Regexp(t, `(?m)^FAILED +target fraud +read secret: .*none: no such file`, r.stdout)
}

func TestTargetConfigPrintsWhatTheConfiguredLoadBalancerNeeds(t *testing.T) {
	r := run(t, "target-config", "lb7", "--config", save(t, "c.yaml", []byte(
		"mitigate: {targets: [{name: lb7, type: haproxy, address: 'tcp:127.0.0.1:9998', map_dir: /srv/maps}]}\n")))
	assert.Equal(t, 0, r.status, r.stderr)
	assert.Contains(t, r.stdout, "127.0.0.1:9998")
	assert.Contains(t, r.stdout, "/srv/maps/")
	assert.Equal(t, 0, run(t, "target-config", "haproxy").status)
}
