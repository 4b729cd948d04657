package envoy

import (
	"cmp"
	"embed"
	"fmt"
	"io"
	"net/netip"
	"strings"

	localratelimit "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/local_ratelimit/v3"
	lua "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	rbac "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	"google.golang.org/protobuf/reflect/protoreflect"

	"offpath/mitigate/internal/printed"
)

//go:embed setup/*.yaml
var setupFiles embed.FS

// Setup is what an Envoy's configuration needs to enforce verdicts. The zero value suits an
// Envoy that clients reach directly, on the machine of offpath.
type Setup struct {
	Name    string // of the target; default lb1
	Address string // of offpath's server, as in [Options]; default tcp:127.0.0.1:18000 with a token
	// TrustedProxies are networks whose X-Forwarded-For is believed: proxies and CDNs in
	// front of Envoy, as in client.trusted_proxies. Empty: the client is the peer.
	TrustedProxies []netip.Prefix
	Token          bool // Envoy shows a token
	TLS            bool // the server has a certificate
	ClientTLS      bool // and asks Envoy for one
}

// Config is a [Setup] rendered: lines of YAML, without indentation.
type Config struct {
	Header  string // comments: how to install the rest
	Manager string // fields of the HTTP connection manager
	Filters string // items of its http_filters, before all others
	Logs    string // items of its access_log
	Cluster string // an item of static_resources.clusters
}

// view is what the templates see.
type view struct {
	Setup
	Host, Port, Path string // of the server
	Discovered       []discovered
}

// bareScript is what the script does before offpath has sent one.
const bareScript = "function envoy_on_request(h) h:headers():remove('x-offpath-verdict') end " +
	"function envoy_on_response(h) h:headers():remove('x-offpath-refused') end"

// discovered is a filter that comes from offpath.
type discovered struct{ Name, Type, Empty string }

// Render checks the setup and makes the configuration.
func (s Setup) Render() (Config, error) {
	s.Name = cmp.Or(s.Name, "lb1")
	if s.Address == "" {
		s.Address, s.Token = "tcp:127.0.0.1:18000", true
	}
	at, _ := parseAddress(s.Address)
	if problem := CheckAddress(s.Address, s.TLS, s.Token); problem != "" {
		return Config{}, fmt.Errorf("envoy setup: address %q %s", s.Address, problem)
	}
	for _, word := range []string{s.Name, at.where} {
		if strings.ContainsFunc(word, func(r rune) bool {
			return !('a' <= r|0x20 && r|0x20 <= 'z' || '0' <= r && r <= '9' || strings.ContainsRune("/.:_-[]", r))
		}) {
			return Config{}, fmt.Errorf("envoy setup: %q holds what YAML may take for syntax", word)
		}
	}
	full := func(m protoreflect.ProtoMessage) string {
		return "type.googleapis.com/" + string(m.ProtoReflect().Descriptor().FullName())
	}
	v := view{Setup: s, Discovered: []discovered{
		{names[verdicts], full(&rbac.RBAC{}), ""},
		{names[script], full(&lua.Lua{}), ", default_source_code: {inline_string: \"" + bareScript + "\"}"},
		{names[rates], full(&localratelimit.LocalRateLimit{}), ", stat_prefix: offpath"},
	}}
	if at.network == "unix" {
		v.Path = at.where
	} else {
		to := netip.MustParseAddrPort(at.where)
		v.Host, v.Port = to.Addr().String(), fmt.Sprint(to.Port())
	}
	var config Config
	if err := printed.Texts(setupFiles, "setup/*.yaml", v, map[string]*string{
		"header.yaml": &config.Header, "manager.yaml": &config.Manager, "filters.yaml": &config.Filters,
		"logs.yaml": &config.Logs, "cluster.yaml": &config.Cluster,
	}); err != nil {
		return Config{}, fmt.Errorf("envoy setup: %w", err)
	}
	return config, nil
}

// WriteTo prints everything with its explanation, for a person.
func (c Config) WriteTo(w io.Writer) (int64, error) {
	return printed.Write(w, c.Header,
		printed.Part{Where: "fields of the HttpConnectionManager", Text: c.Manager},
		printed.Part{Where: "items of its http_filters, before all others", Text: c.Filters},
		printed.Part{Where: "an item of its access_log", Text: c.Logs},
		printed.Part{Where: "an item of static_resources.clusters", Text: c.Cluster},
	)
}
