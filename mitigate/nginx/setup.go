package nginx

import (
	"cmp"
	"embed"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"strings"

	"offpath/mitigate/internal/lua"
	"offpath/mitigate/internal/printed"
)

//go:embed setup/*.conf
var setupFiles embed.FS

//go:embed setup/offpath.lua
var script string

// DefaultDir is the folder of the script and the token at the load balancer.
const DefaultDir = "/etc/nginx/offpath"

// httpFile is where Debian's and nginx's own packages look for parts of the http section.
const httpFile = "/etc/nginx/conf.d/offpath.conf"

// shardSize has room for a sixteenth of [DefaultCapacity] rows of 256 octets, which most
// take half of, and what chance puts there beyond that.
const shardSize = "6m"

// Setup is what an nginx's configuration needs to enforce verdicts. The zero value suits an
// nginx that clients reach directly.
type Setup struct {
	Name string // of the target; default lb1
	// Address is the endpoint that offpath will use, as in [Options]; default
	// tcp:127.0.0.1:9180.
	Address string
	// Dir is the folder of the script and the token; default [DefaultDir].
	Dir string
	// TrustedProxies are networks whose ClientHeader is believed: proxies and CDNs in
	// front of the load balancer, as in client.trusted_proxies. Empty: the client is the
	// peer of the connection, or whom nginx's realip module takes for it.
	TrustedProxies []netip.Prefix
	// ClientHeader names clients, the nearest last; default X-Forwarded-For.
	ClientHeader string
	// IgnoreHeaders are names of header fields that don't count in fingerprints, as in
	// client.ignore_headers.
	IgnoreHeaders []string
}

// Config is a [Setup] rendered.
type Config struct {
	Header string // comments: how to install the rest
	HTTP   string // lines of the http section
	Rules  string // lines of each protected server
	Script string // in Lua

	HTTPFile, RulesFile, ScriptFile string // where they lie
	// TokenFile is where nginx finds the token; it has to exist before nginx starts.
	TokenFile string
}

// Render checks the setup and makes the configuration.
func (s Setup) Render() (Config, error) {
	s.Name = cmp.Or(s.Name, "lb1")
	s.Address = cmp.Or(s.Address, "tcp:127.0.0.1:9180")
	s.Dir = strings.TrimRight(cmp.Or(s.Dir, DefaultDir), "/")
	s.ClientHeader = cmp.Or(s.ClientHeader, "X-Forwarded-For")
	to, problem := parseAddress(s.Address)
	if problem != "" {
		return Config{}, fmt.Errorf("nginx setup: address %q %s", s.Address, problem)
	}
	if err := s.validate(to.where); err != nil {
		return Config{}, fmt.Errorf("nginx setup: %w", err)
	}
	config := Config{
		Script:   lua.Shared + "\n" + script,
		HTTPFile: httpFile, RulesFile: s.Dir + "/rules.conf", ScriptFile: s.Dir + "/offpath.lua", TokenFile: s.Dir + "/token",
	}
	view := view{Setup: s, Config: config, Unix: to.network == "unix", TLS: to.host != "", Where: to.where, Listen: to.where, ShardSize: shardSize}
	where := "http://" + to.where
	switch {
	case view.Unix:
		view.Listen = "unix:" + to.where
		where = "--unix-socket " + to.where + " http://offpath"
	case view.TLS:
		view.Listen += " ssl"
		where = "-k https://" + to.where
	}
	view.Curl = `curl -H "Authorization: Bearer $(cat ` + config.TokenFile + `)" -X %s ` + where
	for i := range shards {
		view.Shards = append(view.Shards, i)
	}
	for _, p := range s.TrustedProxies {
		view.Trusted = append(view.Trusted, networkPlace(p).key)
	}

	if err := printed.Texts(setupFiles, "setup/*.conf", view, map[string]*string{"header.conf": &config.Header, "http.conf": &config.HTTP, "rules.conf": &config.Rules}); err != nil {
		return Config{}, fmt.Errorf("nginx setup: %w", err)
	}
	return config, nil
}

func (s *Setup) validate(where string) error {
	for _, word := range append([]string{where, s.Dir, s.Name, s.ClientHeader}, s.IgnoreHeaders...) {
		if word == "" || strings.ContainsFunc(word, func(r rune) bool {
			return !('a' <= r|0x20 && r|0x20 <= 'z' || '0' <= r && r <= '9' || strings.ContainsRune("/.:_-[]", r))
		}) {
			return fmt.Errorf("%q holds what nginx may take for syntax", word)
		}
	}
	if !filepath.IsAbs(s.Dir) {
		return fmt.Errorf("folder %q is not an absolute path", s.Dir)
	}
	for _, p := range s.TrustedProxies {
		if !p.IsValid() {
			return fmt.Errorf("trusted proxy %s is no network", p)
		}
	}
	return nil
}

// view is what the templates see.
type view struct {
	Setup
	Config
	Unix, TLS     bool
	Where, Listen string // the endpoint, for a person and for nginx
	Curl          string // the beginning of an order by hand; %s is the method
	Shards        []int
	ShardSize     string
	Trusted       []string // networks as the script has them
}

// WriteTo prints everything with its explanation, for a person.
func (c Config) WriteTo(w io.Writer) (int64, error) {
	return printed.Write(w, c.Header,
		printed.Part{Where: "into the http section, such as the file " + c.HTTPFile, Text: c.HTTP},
		printed.Part{Where: "the file " + c.RulesFile, Text: c.Rules},
		printed.Part{Where: "the file " + c.ScriptFile, Text: c.Script},
	)
}
