// Package config holds the configuration of the offpath binary: its keys,
// their defaults and their documentation (all three in this file), and the
// strict reading of a YAML file and of the environment.
//
// A configuration is read whole, checked whole, and only then used: [Load]
// returns either a valid [Config] or one error of one line that names where
// the bad value stands, the value and the mend. A Config is not changed after
// Load and may be read by any number of goroutines.
//
// The package reads files and the environment and nothing else: whether an
// interface exists or a target answers is for others to find out.
package config

import (
	"net/netip"
	"time"
)

// DefaultPath is read when no path is given; it may be absent.
const DefaultPath = "/etc/offpath/offpath.yaml"

// Config is the whole configuration. The tag key names a setting in the file
// (and, in upper case behind OFFPATH_SECTION_, in the environment); doc is
// what `offpath check --print` says of it.
type Config struct {
	Capture    Capture    `key:"capture"`
	Reassembly Reassembly `key:"reassembly"`
	TLS        TLS        `key:"tls"`
	Client     Client     `key:"client"`
	Hash       Hash       `key:"hash"`
	Detect     Detect     `key:"detect"`
	Mitigate   Mitigate   `key:"mitigate"`
	Stream     Stream     `key:"stream"`
	Output     Output     `key:"output"`
	Admin      Admin      `key:"admin"`
	State      State      `key:"state"`
	Log        Log        `key:"log"`

	// Path is the file that was read; "" if none was.
	Path string
	// Warnings are remarks on settings that have no effect.
	Warnings []string
}

// Capture says where packets come from.
type Capture struct {
	Interfaces []string       `key:"interfaces" doc:"interfaces to listen on"`
	Workers    int            `key:"workers" doc:"rings and workers per interface; 0: one per core"`
	RingMiB    int            `key:"ring_mib" doc:"size of each ring, MiB"`
	Record     string         `key:"record" doc:"pcapng file that receives every captured frame; empty: none"`
	Tunnels    []netip.Prefix `key:"tunnels" doc:"networks whose tunnels (GRE, ERSPAN, VXLAN and the like) are read, both ends being in them; empty: all"`
}

// Reassembly bounds reassembly, and says what it looks for.
type Reassembly struct {
	MemoryMiB int  `key:"memory_mib" doc:"limit of buffered octets of all connections together, MiB"`
	Sensitive bool `key:"sensitive" doc:"note the classes of sensitive data (cards, IBANs, tokens …; never values) in each request and its answer, for the site map"`
}

// TLS says what to decrypt with. Without both, hellos are read and nothing is
// decrypted.
type TLS struct {
	KeyLog string   `key:"keylog" doc:"NSS key log (SSLKEYLOGFILE), followed while it grows; empty: none"`
	Keys   []string `key:"keys" doc:"PEM files with the private keys of servers whose clients use RSA key exchange"`
}

// Client says who the client of a request is.
type Client struct {
	TrustedProxies []netip.Prefix `key:"trusted_proxies" doc:"networks whose forwarding headers are believed"`
	IgnoreHeaders  []string       `key:"ignore_headers" doc:"header names that your own proxies add: no part of fingerprints"`
	Allow          []netip.Prefix `key:"allow" doc:"networks that are never acted against"`
}

// Hash is about the keyed hashes of secrets.
type Hash struct {
	Key Secret `key:"key" doc:"site key, file:PATH or env:NAME, 16 octets or more; empty: made once and kept in state.dir"`
}

// Mitigate is about enforcement.
type Mitigate struct {
	Mode           string   `key:"mode" doc:"off, monitor or enforce"`
	MaxHarm        float64  `key:"max_harm" doc:"how many of a million legitimate logins a verdict that acts may be expected to hit, and all together that are not about single addresses; what is beyond it waits for approval (offpath approve); above 0 to 1000000"`
	MaxPerMinute   int      `key:"max_per_minute" doc:"how many new verdicts that act a minute may bring; what is beyond it waits for approval, or for a quieter minute"`
	PrivateClients bool     `key:"private_clients" doc:"whether clients may have private addresses (RFC 1918, 6598, 4193, loopback, link-local); false: no verdict names one, for it may be a proxy that hides everybody"`
	Targets        []Target `key:"targets" doc:"load balancers: list of name, mode (at most that is done there; empty: what mitigate.mode says), type (haproxy, haproxy_dataplane, nginx, webhook, nginx_plus, f5_bigip, netscaler, nginx_file, envoy, aws_waf, cloudflare, nftables, crowdsec, feed, gobgp), address (haproxy: unix:PATH or tcp:HOST:PORT; haproxy_dataplane: https://HOST:PORT of the Data Plane API, or http:// on loopback; nginx: tcp:HOST:PORT on this machine, unix:PATH or https://HOST:PORT; crowdsec and feed: unix:PATH or tcp:HOST:PORT to listen on; webhook: its URL; nginx_plus: http://HOST:PORT or https://HOST:PORT of its API; f5_bigip: https://HOST or https://HOST:PORT of iControl REST; netscaler: https://HOST or https://HOST:PORT of NITRO; nginx_file: tcp:ADDRESS:PORT or unix:PATH where nginx says what is in force, empty: tcp:127.0.0.1:9181; envoy: unix:PATH or tcp:ADDRESS:PORT where offpath listens for Envoys; aws_waf: none, or the URL of another endpoint; cloudflare: none, or the URL of another API; nftables: local, or nothing; gobgp: tcp:ADDRESS:PORT on this machine or unix:PATH of its API, empty: tcp:127.0.0.1:50051) and the keys of its type (haproxy: map_dir, where it has its map files; empty: /etc/haproxy/offpath. haproxy_dataplane: user and password, file:PATH or env:NAME, of who logs in; ca, a PEM file of who may vouch for it, empty: whom the system trusts; map_dir, the folder of maps that the API has, empty: /etc/haproxy/maps; api_version, 2 or 3, 0: the one that answers. haproxy and haproxy_dataplane: deceive_status and deceive_type, of the answer that deceives, 0: nobody is deceived there; tarpit, how long what is blocked or deceived waits for its answer, 0: not at all, but with tarpit_connections or more at the frontend, 0: 1000. nginx: token, the bearer token of its endpoint, file:PATH or env:NAME; conf_dir, where it has script and token; empty: /etc/nginx/offpath; ca, a PEM file of who may vouch for it, empty: whom the system trusts. crowdsec and feed: token, the keys that consumers come with, one a line, file:PATH or env:NAME; certificate, a PEM file of what their own server shows, and key, file:PATH or env:NAME, needed beyond loopback. webhook: secret, what messages are signed with, file:PATH or env:NAME; secret_previous, one more while the first takes its place; ca, a PEM file of who may vouch for the receiver, empty: whom the system trusts. nginx_plus: ca, the same; user and password, file:PATH or env:NAME, of HTTP's basic authentication. f5_bigip: ca, the same; user and password, of who logs in; partition, where its data groups and iRule are, empty: Common. netscaler: ca, user and password, the same. nginx_file: conf_dir, the folder that offpath writes to, empty: /etc/nginx/offpath; pid_file, of nginx's master, empty: /run/nginx.pid; program, nginx itself, empty: /usr/sbin/nginx; reload_interval, the least time between two reloads, 0: 5s. envoy: token, what Envoys show, file:PATH or env:NAME; certificate, a PEM file of what they are shown, with key, file:PATH or env:NAME, and ca, a PEM file of who may vouch for them. aws_waf: region; scope, regional or cloudfront, empty: regional; group, the name of its rule group, empty: offpath; access_key; secret and, of a key that does not last, session_token, file:PATH or env:NAME. cloudflare: account, the id of whose lists it writes; zones, a list of the ids of the zones that have the rule; token, of the API, file:PATH or env:NAME; capacity, the most verdicts, 0: 9000. nftables: ports, a list of those that refused clients can't reach. gobgp: method, flowspec or rtbh; with flowspec destinations, a list of the networks it protects, and ports there, empty: all; with rtbh next_hops, a list of what its routes point to, one of each family; capacity, the most routes, 0: 1000 with flowspec, 10000 with rtbh)"`
}

// Stream is about Kafka, for `offpath sensor` and `offpath detect`.
type Stream struct {
	Brokers           []string `key:"brokers" doc:"bootstrap addresses, HOST:PORT"`
	TransactionsTopic string   `key:"transactions_topic" doc:"topic from sensors to detection"`
	VerdictsTopic     string   `key:"verdicts_topic" doc:"topic that verdicts are published on"`
	Group             string   `key:"group" doc:"consumer group of detection"`
}

// Output names files that a running offpath appends to, beside everything
// else that it does.
type Output struct {
	Transactions string `key:"transactions" doc:"JSON Lines file of transactions; empty: none"`
	Findings     string `key:"findings" doc:"JSON Lines file of findings; empty: none"`
	Verdicts     string `key:"verdicts" doc:"JSON Lines file of verdicts; empty: none"`
}

// Admin is about the API.
type Admin struct {
	Socket  string `key:"socket" doc:"unix socket of the API, mode 0600; empty: none"`
	Listen  string `key:"listen" doc:"address of metrics, health and API; beyond loopback it needs token, tls_cert and tls_key; empty: none"`
	Token   Secret `key:"token" doc:"bearer token of the API on admin.listen, file:PATH or env:NAME; without it the API is read-only there"`
	TLSCert string `key:"tls_cert" doc:"certificate chain of admin.listen, PEM"`
	TLSKey  string `key:"tls_key" doc:"its private key, PEM"`
}

// State is where offpath keeps what must outlive it.
type State struct {
	Dir   string        `key:"dir" doc:"folder of the hash key, what detection has learned, the active verdicts, the kill switch, the audit log and the evidence (findings and verdicts, 128 MiB at most)"`
	Every time.Duration `key:"every" doc:"how often what detection has learned is written to state.dir while it runs; 10s to 24h"`
}

// Log is about the messages on stderr.
type Log struct {
	Level  string `key:"level" doc:"debug, info, warn or error"`
	Format string `key:"format" doc:"auto (text on a terminal, else JSON), text or json"`
}

// Default returns the configuration that an empty file gives.
func Default() *Config {
	return &Config{
		Capture:    Capture{RingMiB: 64},
		Reassembly: Reassembly{MemoryMiB: 1024},
		Detect:     defaultDetect(),
		Mitigate:   Mitigate{Mode: "monitor", MaxHarm: 50_000, MaxPerMinute: 10_000},
		Stream: Stream{
			TransactionsTopic: "offpath.transactions",
			VerdictsTopic:     "offpath.verdicts",
			Group:             "offpath-detect",
		},
		Admin: Admin{Socket: "/run/offpath/admin.sock", Listen: "127.0.0.1:9321"},
		State: State{Dir: "/var/lib/offpath", Every: 5 * time.Minute},
		Log:   Log{Level: "info", Format: "auto"},
	}
}
