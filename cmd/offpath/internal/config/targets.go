package config

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"offpath/mitigate/awswaf"
	"offpath/mitigate/cloudflare"
	"offpath/mitigate/crowdsec"
	"offpath/mitigate/dataplane"
	"offpath/mitigate/envoy"
	"offpath/mitigate/f5bigip"
	"offpath/mitigate/feed"
	"offpath/mitigate/gobgp"
	"offpath/mitigate/haproxy"
	"offpath/mitigate/netscaler"
	"offpath/mitigate/nftables"
	"offpath/mitigate/nginx"
	"offpath/mitigate/nginxfile"
	"offpath/mitigate/nginxplus"
	"offpath/mitigate/webhook"
)

// Target is one load balancer, or another that acts on verdicts. Beside the first four
// keys each type has its own, which targetTypes names.
type Target struct {
	Name    string `key:"name"`
	Type    string `key:"type"`
	Address string `key:"address"`
	Mode    string `key:"mode"`    // at most this is done there, whatever mitigate.mode is; empty: no less
	MapDir  string `key:"map_dir"` // haproxy: folder of the map files; empty: /etc/haproxy/offpath. haproxy_dataplane: the API's folder of maps; empty: /etc/haproxy/maps

	PeerAddress string   `key:"peer_address"` // haproxy: where it takes rows from its predecessor and its peers; empty: 127.0.0.1:10077
	Peers       []string `key:"peers"`        // haproxy: targets in front of the same frontends that teach it their rows when it starts

	Sessions bool `key:"sessions"` // haproxy: whether it is to know sessions that verdicts are about; its script then has the key of their hashes

	DeceiveStatus     int           `key:"deceive_status"`     // haproxy, haproxy_dataplane: of the answer that deceives; 0: nobody is deceived there
	DeceiveType       string        `key:"deceive_type"`       // haproxy, haproxy_dataplane: its media type; empty: application/json
	Tarpit            time.Duration `key:"tarpit"`             // haproxy, haproxy_dataplane: how long what is blocked or deceived waits for its answer; 0: not at all
	TarpitConnections int           `key:"tarpit_connections"` // haproxy, haproxy_dataplane: with so many at the frontend nothing waits; 0: 1000

	ConfDir string `key:"conf_dir"` // nginx: folder of the script and the token there; nginx_file: folder that offpath writes to; empty: /etc/nginx/offpath
	Token   Secret `key:"token"`    // nginx: the bearer token of its endpoint; envoy: what Envoys show; crowdsec, feed: the keys that consumers come with, one a line; cloudflare: of its API

	PIDFile        string        `key:"pid_file"`        // nginx_file: of nginx's master; empty: /run/nginx.pid
	Program        string        `key:"program"`         // nginx_file: nginx itself; empty: /usr/sbin/nginx
	ReloadInterval time.Duration `key:"reload_interval"` // nginx_file: the least time between two reloads; 0: 5 s

	Ports []string `key:"ports"` // nftables: what refused clients can't reach; gobgp: by FlowSpec, empty: all

	Method       string   `key:"method"`       // gobgp: flowspec or rtbh
	Destinations []string `key:"destinations"` // gobgp: networks that FlowSpec protects
	NextHops     []string `key:"next_hops"`    // gobgp: what rtbh's routes point to
	Capacity     int      `key:"capacity"`     // gobgp: the most routes; 0: 1000 with FlowSpec, 10000 with rtbh. cloudflare: the most verdicts; 0: 9000

	CA             string `key:"ca"`              // nginx, webhook, nginx_plus, f5_bigip, netscaler, haproxy_dataplane: PEM file of who may vouch for it; empty: whom the system trusts. envoy: of who may vouch for Envoys; empty: they need no certificate
	Secret         Secret `key:"secret"`          // webhook: what messages are signed with; aws_waf: the secret access key
	SecretPrevious Secret `key:"secret_previous"` // webhook: one more to sign with, while secret is taking its place

	Region       string `key:"region"`        // aws_waf: such as eu-central-1; of CloudFront us-east-1
	Scope        string `key:"scope"`         // aws_waf: regional or cloudfront; empty: regional
	Group        string `key:"group"`         // aws_waf: name of the rule group; empty: offpath
	AccessKey    string `key:"access_key"`    // aws_waf: id of the key that secret belongs to
	SessionToken Secret `key:"session_token"` // aws_waf: of a key that does not last; empty: none

	User     string `key:"user"`     // nginx_plus: of HTTP's basic authentication; empty: none. f5_bigip, netscaler, haproxy_dataplane: who logs in
	Password Secret `key:"password"` // nginx_plus, f5_bigip, netscaler, haproxy_dataplane: the user's

	Account string   `key:"account"` // cloudflare: id of the account whose lists it writes
	Zones   []string `key:"zones"`   // cloudflare: ids of the zones that have the rule

	Partition string `key:"partition"` // f5_bigip: where data groups and iRule are; empty: Common

	APIVersion int `key:"api_version"` // haproxy_dataplane: 2 or 3; 0: the one that answers

	Certificate string `key:"certificate"` // envoy, crowdsec, feed: PEM file of what its server shows; empty: no TLS
	Key         Secret `key:"key"`         // envoy, crowdsec, feed: the certificate's, in PEM
}

// targetType is what a type of target is configured by.
type targetType struct {
	name string
	keys []string // beside name, type and address
	// check looks at the keys but name and type; at is the full name of one, for an error.
	check func(l *loader, t *Target, at func(key string) string) error
}

var targetTypes = []targetType{
	{
		name: "haproxy", keys: []string{"map_dir", "peer_address", "peers", "sessions", "deceive_status", "deceive_type", "tarpit", "tarpit_connections"},
		check: func(l *loader, t *Target, at func(string) string) error {
			address := t.Address
			if path, ok := strings.CutPrefix(address, "master:"); ok {
				address = "unix:" + path
			}
			if problem := socketProblem(address); problem != "" {
				return l.mistake(at("address"), "%q %s; write unix:/run/haproxy/admin.sock, master:/run/haproxy-master.sock or tcp:127.0.0.1:9999", t.Address, problem)
			}
			if t.MapDir != "" && !filepath.IsAbs(t.MapDir) {
				return l.mistake(at("map_dir"), "%q is not an absolute path; write one such as /etc/haproxy/offpath", t.MapDir)
			}
			if t.PeerAddress != "" {
				if _, _, err := net.SplitHostPort(t.PeerAddress); err != nil {
					return l.mistake(at("peer_address"), "%q is not HOST:PORT; write one such as 10.0.0.1:10077", t.PeerAddress)
				}
			}
			for _, name := range t.Peers {
				i := slices.IndexFunc(l.config.Mitigate.Targets, func(o Target) bool { return o.Name == name })
				switch {
				case name == t.Name:
					return l.mistake(at("peers"), "%s is this target itself; name the others", name)
				case i < 0 || l.config.Mitigate.Targets[i].Type != "haproxy":
					return l.mistake(at("peers"), "%q is no target of type haproxy; each peer has to be one, since they tell each other nothing of what is lifted", name)
				case t.PeerAddress == "" || l.config.Mitigate.Targets[i].PeerAddress == "":
					return l.mistake(at("peers"), "%s and %s can't reach each other; write peer_address for both", t.Name, name)
				case l.config.Mitigate.Targets[i].Mode != t.Mode:
					return l.mistake(at("peers"), "%s and %s tell each other their mode; write the same mode for both", t.Name, name)
				}
			}
			return checkAnswers(l, t, at)
		},
	},
	{
		name: "haproxy_dataplane", keys: []string{"ca", "user", "password", "map_dir", "api_version", "deceive_status", "deceive_type", "tarpit", "tarpit_connections"},
		check: func(l *loader, t *Target, at func(string) string) error {
			if problem := dataplane.CheckAddress(t.Address); problem != "" {
				return l.mistake(at("address"), "%q %s; write one such as https://lb1.example:5555", t.Address, problem)
			}
			if !dataplane.PlainName(t.User) {
				return l.mistake(at("user"), "%q is no name of a user; write who logs in to the Data Plane API, in letters, digits, '.', '_' and '-'", t.User)
			}
			if t.Password.IsZero() {
				return l.mistake(at("password"), "it is empty; write file:PATH or env:NAME of the password of %s", t.User)
			}
			if t.MapDir != "" && !dataplane.PlainPath(t.MapDir) {
				return l.mistake(at("map_dir"), "%q is not an absolute path of letters, digits, '.', '_' and '-'; write the API's maps_dir, such as %s", t.MapDir, dataplane.DefaultMapDir)
			}
			if v := t.APIVersion; v != 0 && v != 2 && v != 3 {
				return l.mistake(at("api_version"), "%d is no version of the API; write 2 or 3, or leave it out", v)
			}
			return checkAnswers(l, t, at)
		},
	},
	{
		name: "nginx", keys: []string{"conf_dir", "token", "ca"},
		check: func(l *loader, t *Target, at func(string) string) error {
			if problem := nginx.CheckAddress(t.Address); problem != "" {
				return l.mistake(at("address"), "%q %s; write tcp:127.0.0.1:9180, unix:/run/offpath/nginx.sock or https://lb1.example:9180", t.Address, problem)
			}
			if t.Token.IsZero() {
				return l.mistake(at("token"), "it is empty; write file:PATH or env:NAME of the token that nginx has, too")
			}
			if t.ConfDir != "" && !filepath.IsAbs(t.ConfDir) {
				return l.mistake(at("conf_dir"), "%q is not an absolute path; write one such as /etc/nginx/offpath", t.ConfDir)
			}
			return nil
		},
	},
	{
		name: "webhook", keys: []string{"ca", "secret", "secret_previous"},
		check: func(l *loader, t *Target, at func(string) string) error {
			if problem := webhook.CheckURL(t.Address); problem != "" {
				return l.mistake(at("address"), "%q %s; write one such as https://fraud.example/offpath", t.Address, problem)
			}
			if t.Secret.IsZero() {
				return l.mistake(at("secret"), "it is empty; write file:PATH or env:NAME of what messages are signed with, 16 octets or more")
			}
			return nil
		},
	},
	{
		name: "nginx_plus", keys: []string{"ca", "user", "password"},
		check: func(l *loader, t *Target, at func(string) string) error {
			if problem := nginxplus.CheckAddress(t.Address); problem != "" {
				return l.mistake(at("address"), "%q %s; write one such as https://lb1.example:8443", t.Address, problem)
			}
			if t.User != "" && t.Password.IsZero() {
				return l.mistake(at("password"), "it is empty; write file:PATH or env:NAME of the password of %s", t.User)
			}
			if t.User == "" && !t.Password.IsZero() {
				return l.mistake(at("user"), "it is empty; write whose password it is")
			}
			return nil
		},
	},
	{
		name: "f5_bigip", keys: []string{"ca", "user", "password", "partition"},
		check: func(l *loader, t *Target, at func(string) string) error {
			if problem := f5bigip.CheckAddress(t.Address); problem != "" {
				return l.mistake(at("address"), "%q %s; write one such as https://bigip1.example", t.Address, problem)
			}
			if !f5bigip.PlainName(t.User) {
				return l.mistake(at("user"), "%q is no name of a user; write who logs in over iControl REST, in letters, digits, '.', '_' and '-'", t.User)
			}
			if t.Password.IsZero() {
				return l.mistake(at("password"), "it is empty; write file:PATH or env:NAME of the password of %s", t.User)
			}
			if t.Partition != "" && !f5bigip.PlainName(t.Partition) {
				return l.mistake(at("partition"), "%q is no name of a partition; write one such as Common", t.Partition)
			}
			return nil
		},
	},
	{
		name: "netscaler", keys: []string{"ca", "user", "password"},
		check: func(l *loader, t *Target, at func(string) string) error {
			if problem := netscaler.CheckAddress(t.Address); problem != "" {
				return l.mistake(at("address"), "%q %s; write one such as https://netscaler1.example", t.Address, problem)
			}
			if !netscaler.PlainName(t.User) {
				return l.mistake(at("user"), "%q is no name of a user; write who logs in over NITRO, in letters, digits, '.', '_' and '-'", t.User)
			}
			if t.Password.IsZero() {
				return l.mistake(at("password"), "it is empty; write file:PATH or env:NAME of the password of %s", t.User)
			}
			return nil
		},
	},
	{
		name: "nginx_file", keys: []string{"conf_dir", "pid_file", "program", "reload_interval"},
		check: func(l *loader, t *Target, at func(string) string) error {
			if problem := nginxfile.CheckAddress(t.Address); t.Address != "" && problem != "" {
				return l.mistake(at("address"), "%q %s; it is where nginx says what is in force: write %s or unix:/run/nginx-offpath.sock, or leave it out", t.Address, problem, nginxfile.DefaultAddress)
			}
			for _, p := range []struct{ key, path, example string }{
				{"conf_dir", t.ConfDir, nginxfile.DefaultDir}, {"pid_file", t.PIDFile, nginxfile.DefaultPIDFile}, {"program", t.Program, nginxfile.DefaultProgram},
			} {
				if p.path != "" && !nginxfile.PlainPath(p.path) {
					return l.mistake(at(p.key), "%q is not an absolute path of letters, digits, '.', '_' and '-'; write one such as %s", p.path, p.example)
				}
			}
			if t.ReloadInterval != 0 && (t.ReloadInterval < nginxfile.MinInterval || t.ReloadInterval > nginxfile.MaxInterval) {
				return l.mistake(at("reload_interval"), "%s is out of range; write %s to %s", t.ReloadInterval, nginxfile.MinInterval, nginxfile.MaxInterval)
			}
			for i := range l.config.Mitigate.Targets {
				if o := &l.config.Mitigate.Targets[i]; o == t {
					break
				} else if o.Type == t.Type && cmp.Or(o.ConfDir, nginxfile.DefaultDir) == cmp.Or(t.ConfDir, nginxfile.DefaultDir) {
					return l.mistake(at("conf_dir"), "target %s writes there already; give each nginx a folder of its own", o.Name)
				}
			}
			return nil
		},
	},
	{
		name: "envoy", keys: []string{"token", "certificate", "key", "ca"},
		check: func(l *loader, t *Target, at func(string) string) error {
			if t.Certificate != "" && t.Key.IsZero() {
				return l.mistake(at("key"), "it is empty; write file:PATH or env:NAME of the key of the certificate")
			}
			if t.Certificate == "" && (!t.Key.IsZero() || t.CA != "") {
				return l.mistake(at("certificate"), "it is empty; write the PEM file of what Envoys are shown, or leave out key and ca")
			}
			if t.Certificate != "" && t.CA == "" && t.Token.IsZero() {
				return l.mistake(at("ca"), "it is empty; write the PEM file of who may vouch for Envoys, or give a token")
			}
			if problem := envoy.CheckAddress(t.Address, t.Certificate != "", !t.Token.IsZero()); problem != "" {
				return l.mistake(at("address"), "%q %s; write unix:/run/offpath/envoy.sock, tcp:127.0.0.1:18000 with a token, or tcp:192.0.2.1:18000 with certificate, key and ca", t.Address, problem)
			}
			return nil
		},
	},
	{
		name: "aws_waf", keys: []string{"region", "scope", "group", "access_key", "secret", "session_token"},
		check: func(l *loader, t *Target, at func(string) string) error {
			if problem := webhook.CheckURL(t.Address); t.Address != "" && problem != "" {
				return l.mistake(at("address"), "%q %s; leave it out, or write the URL of another endpoint of AWS", t.Address, problem)
			}
			if t.Scope != "" {
				if err := l.checkChoice(at("scope"), t.Scope, "regional", "cloudfront"); err != nil {
					return err
				}
			}
			if problem := awswaf.CheckRegion(t.Region, t.Scope == "cloudfront"); problem != "" {
				return l.mistake(at("region"), "%q %s; write one such as eu-central-1, with scope cloudfront us-east-1", t.Region, problem)
			}
			if t.Group != "" && !awswaf.PlainName(t.Group) {
				return l.mistake(at("group"), "%q is no name of a rule group; write letters, digits, '-' and '_', at most 64", t.Group)
			}
			if t.AccessKey == "" {
				return l.mistake(at("access_key"), "it is empty; write the id of the key that secret belongs to")
			}
			if t.Secret.IsZero() {
				return l.mistake(at("secret"), "it is empty; write file:PATH or env:NAME of the secret access key")
			}
			for i := range l.config.Mitigate.Targets {
				if o := &l.config.Mitigate.Targets[i]; o == t {
					break
				} else if o.Type == t.Type && o.Region == t.Region && o.AccessKey == t.AccessKey {
					return l.mistake(at("region"), "target %s writes in %s with this key already, and AWS takes one update a second there; one target has to do", o.Name, t.Region)
				}
			}
			return nil
		},
	},
	{
		name: "cloudflare", keys: []string{"account", "zones", "token", "capacity"},
		check: func(l *loader, t *Target, at func(string) string) error {
			if problem := cloudflare.CheckAddress(t.Address); t.Address != "" && problem != "" {
				return l.mistake(at("address"), "%q %s; leave it out, or write the URL of another API such as %s", t.Address, problem, cloudflare.DefaultAddress)
			}
			if !cloudflare.PlainID(t.Account) {
				return l.mistake(at("account"), "%q is no id of 32 hex digits; write that of your account, from its overview in the dashboard", t.Account)
			}
			if len(t.Zones) == 0 {
				return l.mistake(at("zones"), "it is empty; write the ids of the zones that have the rule, from their overviews in the dashboard")
			}
			if len(t.Zones) > cloudflare.MaxZones {
				return l.mistake(at("zones"), "%d are more than %d; leave some out", len(t.Zones), cloudflare.MaxZones)
			}
			for i, zone := range t.Zones {
				if !cloudflare.PlainID(zone) {
					return l.mistake(at("zones"), "%q is no id of 32 hex digits; write that of the zone, from its overview in the dashboard", zone)
				}
				if slices.Contains(t.Zones[:i], zone) {
					return l.mistake(at("zones"), "%q is there twice; write it once", zone)
				}
			}
			if t.Token.IsZero() {
				return l.mistake(at("token"), "it is empty; write file:PATH or env:NAME of an API token for the account's lists and the zones' WAF")
			}
			if t.Capacity < 0 || t.Capacity > cloudflare.MaxCapacity {
				return l.mistake(at("capacity"), "%d is out of range; write 1 to %d, or 0 for %d", t.Capacity, cloudflare.MaxCapacity, cloudflare.DefaultCapacity)
			}
			for i := range l.config.Mitigate.Targets {
				if o := &l.config.Mitigate.Targets[i]; o == t {
					break
				} else if o.Type == t.Type && o.Account == t.Account {
					return l.mistake(at("account"), "target %s writes the lists of this account already, and Cloudflare changes one at a time; write one target, with all the zones", o.Name)
				}
			}
			return nil
		},
	},
	{
		name: "nftables", keys: []string{"ports"},
		check: func(l *loader, t *Target, at func(string) string) error {
			if t.Address != "" && t.Address != "local" {
				return l.mistake(at("address"), "%q is not local; write that, or nothing: it is the kernel of the host and network namespace that offpath runs in", t.Address)
			}
			if len(t.Ports) == 0 || len(t.Ports) > nftables.MaxPorts {
				return l.mistake(at("ports"), "it has %d ports; write 1 to %d, such as [80, 443]", len(t.Ports), nftables.MaxPorts)
			}
			if _, err := t.PortNumbers(); err != nil {
				return l.mistake(at("ports"), "%v", err)
			}
			same := 0
			for _, other := range l.config.Mitigate.Targets {
				if other.Type == t.Type {
					same++
				}
			}
			if same > 1 {
				return l.mistake(at("type"), "there are %d of type nftables, and one kernel; write one with all the ports", same)
			}
			return nil
		},
	},
	{
		name: "gobgp", keys: []string{"method", "destinations", "ports", "next_hops", "capacity"},
		check: func(l *loader, t *Target, at func(string) string) error {
			if problem := gobgp.CheckAddress(t.Address); t.Address != "" && problem != "" {
				return l.mistake(at("address"), "%q %s; write %s or unix:/run/gobgpd.sock, or leave it out", t.Address, problem, gobgp.DefaultAddress)
			}
			if t.Method != gobgp.FlowSpec && t.Method != gobgp.RTBH {
				return l.mistake(at("method"), "%q is neither %s nor %s; write one of them", t.Method, gobgp.FlowSpec, gobgp.RTBH)
			}
			if _, err := t.PortNumbers(); err != nil {
				return l.mistake(at("ports"), "%v", err)
			}
			if _, err := t.DestinationNetworks(); err != nil {
				return l.mistake(at("destinations"), "%v", err)
			}
			if _, err := t.NextHopAddresses(); err != nil {
				return l.mistake(at("next_hops"), "%v", err)
			}
			o, err := t.GoBGP()
			if err == nil {
				err = o.Check()
			}
			var wrong *gobgp.OptionError
			if errors.As(err, &wrong) {
				return l.mistake(at(wrong.Option), "%s", wrong.Problem)
			}
			for _, other := range l.config.Mitigate.Targets {
				if other.Type == t.Type && other.Name != t.Name && other.Method == t.Method && cmp.Or(other.Address, gobgp.DefaultAddress) == cmp.Or(t.Address, gobgp.DefaultAddress) {
					return l.mistake(at("method"), "%s and %s are the same gobgpd with method %s; write one, with all the destinations", t.Name, other.Name, t.Method)
				}
			}
			return err
		},
	},
	pulled("crowdsec", crowdsec.DefaultAddress),
	pulled("feed", feed.DefaultAddress),
}

// checkAnswers looks at how an HAProxy answers what is deceived or blocked.
func checkAnswers(l *loader, t *Target, at func(string) string) error {
	switch {
	case t.DeceiveStatus != 0 && (t.DeceiveStatus < 200 || t.DeceiveStatus > 599):
		return l.mistake(at("deceive_status"), "%d is no status of a final answer; write what your site answers to a wrong password, such as 401", t.DeceiveStatus)
	case t.DeceiveType != "" && t.DeceiveStatus == 0:
		return l.mistake(at("deceive_type"), "there is no answer for it; write deceive_status, too")
	case !haproxy.IsMediaType(cmp.Or(t.DeceiveType, haproxy.DefaultDeceptionType)):
		return l.mistake(at("deceive_type"), "%q is no media type; write one such as application/json", t.DeceiveType)
	case t.Tarpit < 0 || t.Tarpit > haproxy.MaxTarpit || t.Tarpit%time.Millisecond != 0:
		return l.mistake(at("tarpit"), "%s is not of whole milliseconds up to a minute; write one such as 2s", t.Tarpit)
	case t.TarpitConnections < 0:
		return l.mistake(at("tarpit_connections"), "%d is negative; write one such as 1000", t.TarpitConnections)
	case t.TarpitConnections > 0 && t.Tarpit == 0:
		return l.mistake(at("tarpit_connections"), "nothing waits there; write tarpit, too")
	}
	return nil
}

// PortNumbers are the ports of a target; of one that was loaded all are right.
func (t *Target) PortNumbers() (list []uint16, err error) {
	for _, text := range t.Ports {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("%q is no port; write a number from 1 to 65535", text)
		}
		list = append(list, uint16(n))
	}
	return list, nil
}

// DestinationNetworks are the networks that a target protects; of one that was loaded all
// are right.
func (t *Target) DestinationNetworks() (list []netip.Prefix, err error) {
	for _, text := range t.Destinations {
		p, err := netip.ParsePrefix(text)
		if err != nil || p.Masked() != p {
			return nil, fmt.Errorf("%q is no network; write one such as 198.51.100.0/24", text)
		}
		list = append(list, p)
	}
	return list, nil
}

// NextHopAddresses are the next hops of a target; of one that was loaded all are right.
func (t *Target) NextHopAddresses() (list []netip.Addr, err error) {
	for _, text := range t.NextHops {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("%q is no address; write one such as 192.0.2.1", text)
		}
		list = append(list, a)
	}
	return list, nil
}

// GoBGP are the options of a target of type gobgp.
func (t *Target) GoBGP() (o gobgp.Options, err error) {
	o = gobgp.Options{Name: t.Name, Address: t.Address, Method: t.Method, Capacity: t.Capacity}
	if o.Ports, err = t.PortNumbers(); err != nil {
		return o, err
	}
	if o.Destinations, err = t.DestinationNetworks(); err != nil {
		return o, err
	}
	o.NextHops, err = t.NextHopAddresses()
	return o, err
}

// pulled is a type of target that others fetch from.
func pulled(name, example string) targetType {
	return targetType{
		name: name, keys: []string{"token", "certificate", "key"},
		check: func(l *loader, t *Target, at func(string) string) error {
			if problem := crowdsec.CheckAddress(t.Address); problem != "" {
				return l.mistake(at("address"), "%q %s; it is where consumers fetch from: write %s or unix:/run/offpath/%s.sock", t.Address, problem, example, name)
			}
			if t.Token.IsZero() {
				return l.mistake(at("token"), "it is empty; write file:PATH or env:NAME of the keys that consumers come with, one a line")
			}
			if t.Certificate != "" && t.Key.IsZero() {
				return l.mistake(at("key"), "it is empty; write file:PATH or env:NAME of the key of the certificate")
			}
			if t.Certificate == "" && !t.Key.IsZero() {
				return l.mistake(at("certificate"), "it is empty; write the PEM file of what consumers are shown, or leave out key")
			}
			if t.Certificate == "" && !crowdsec.Local(t.Address) {
				return l.mistake(at("address"), "%q is not loopback and so needs certificate and key; set them or listen on %s", t.Address, example)
			}
			return nil
		},
	}
}

// TargetTypes are the names of the types of targets.
func TargetTypes() []string {
	var names []string
	for _, t := range targetTypes {
		names = append(names, t.name)
	}
	return names
}

var targets = statements[Target]{
	list: "mitigate.targets", one: "load balancer", many: "targets", first: "name: …",
	example: `[{name: lb1, type: haproxy, address: "unix:/run/haproxy/admin.sock"}]`,
	keys:    targetKeys(),
	fields: func(t *Target) map[string]any {
		into := map[string]any{}
		for key, field := range targetFields(t) {
			into[key] = field.Addr().Interface()
		}
		return into
	},
}

func targetKeys() (keys []string) {
	for f := range reflect.TypeFor[Target]().Fields() {
		keys = append(keys, f.Tag.Get("key"))
	}
	return keys
}

// targetFields are the fields of a target by their keys.
func targetFields(t *Target) map[string]reflect.Value {
	fields := map[string]reflect.Value{}
	for i, key := range targetKeys() {
		fields[key] = reflect.ValueOf(t).Elem().Field(i)
	}
	return fields
}

func (l *loader) checkTargets() error {
	m := &l.config.Mitigate
	if err := l.checkChoice("mitigate.mode", m.Mode, "off", "monitor", "enforce"); err != nil {
		return err
	}
	if !(m.MaxHarm > 0 && m.MaxHarm <= 1e6) {
		return l.mistake("mitigate.max_harm", "%v is out of range; write a number of logins above 0 and up to 1000000", m.MaxHarm)
	}
	if err := l.checkRange("mitigate.max_per_minute", m.MaxPerMinute, 1, maxVerdicts); err != nil {
		return err
	}
	seen := map[string]bool{}
	for i := range l.config.Mitigate.Targets {
		t := &l.config.Mitigate.Targets[i]
		path := targets.list + "[" + strconv.Itoa(i) + "]"
		at := func(key string) string { return l.within(path, targets.list, key) }
		if !targetName.MatchString(t.Name) {
			return l.mistake(at("name"), "%q is no name of a target; write letters, digits, '.', '_' and '-', such as lb1", t.Name)
		}
		if seen[t.Name] {
			return l.mistake(at("name"), "%q is the name of another target already; names must differ", t.Name)
		}
		seen[t.Name] = true
		if err := l.checkChoice(at("type"), t.Type, TargetTypes()...); err != nil {
			return err
		}
		if t.Mode != "" {
			if err := l.checkChoice(at("mode"), t.Mode, "off", "monitor", "enforce"); err != nil {
				return err
			}
		}
		kind := targetTypes[slices.Index(TargetTypes(), t.Type)]
		fields := targetFields(t)
		for _, key := range targetKeys()[4:] {
			if !fields[key].IsZero() && !slices.Contains(kind.keys, key) {
				return l.mistake(at(key), "a target of type %s has no such key; remove it", t.Type)
			}
		}
		if err := kind.check(l, t, at); err != nil {
			return err
		}
	}
	return nil
}

// within is the full name of a key of an item of a list. One that was not given is
// where the item is, or else the list.
func (l *loader) within(item, list, key string) string {
	full := item + "." + key
	for _, place := range [...]string{full, item, list} {
		if where := l.where[place]; where != "" {
			l.where[full] = where
			break
		}
	}
	return full
}

// socketProblem says what is wrong with unix:PATH or tcp:HOST:PORT.
func socketProblem(address string) string {
	kind, rest, _ := strings.Cut(address, ":")
	switch kind {
	case "unix":
		switch {
		case !filepath.IsAbs(rest):
			return "has no absolute path"
		case len(rest) > maxSocketPath:
			return fmt.Sprintf("has a path of %d octets, more than the %d of a unix socket", len(rest), maxSocketPath)
		}
		return ""
	case "tcp":
		return hostPortProblem(rest)
	}
	return "is no address of a target"
}

// targetFlow writes a target in YAML's flow style, with what it has.
func targetFlow(t Target) string {
	var pairs []string
	fields := targetFields(&t)
	for _, key := range targetKeys() {
		if f := fields[key]; !f.IsZero() {
			pairs = append(pairs, key+": "+flow(f))
		}
	}
	return "{" + strings.Join(pairs, ", ") + "}"
}
