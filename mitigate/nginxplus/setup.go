package nginxplus

import (
	"cmp"
	"embed"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"

	"offpath/detect"
	"offpath/mitigate/internal/limitreq"
	"offpath/mitigate/internal/printed"
)

//go:embed setup/*.conf
var setupFiles embed.FS

// Setup is what an NGINX Plus's configuration needs to enforce verdicts. The zero value
// suits one that clients reach directly.
type Setup struct {
	Name    string // of the target; default lb1
	Address string // of the API, as in [Options]; default http://127.0.0.1:8089
	// StateDir is the folder of the state files; default /var/lib/nginx/state.
	StateDir string
	// AllowFile lists networks that are never refused; default /etc/nginx/offpath-allow.conf.
	AllowFile string
	// TrustedProxies are networks whose ClientHeader is believed, as in
	// client.trusted_proxies. Empty: the client is the peer of the connection.
	TrustedProxies []netip.Prefix
	// ClientHeader names clients, the nearest last; default X-Forwarded-For.
	ClientHeader string
	// Rates that verdicts limit to, as in [Options].
	Rates []detect.Rate
}

func (s *Setup) setDefaults() {
	s.Name = cmp.Or(s.Name, "lb1")
	s.Address = strings.TrimRight(cmp.Or(s.Address, "http://127.0.0.1:8089"), "/")
	s.StateDir = cmp.Or(s.StateDir, "/var/lib/nginx/state")
	s.AllowFile = cmp.Or(s.AllowFile, "/etc/nginx/offpath-allow.conf")
	s.ClientHeader = cmp.Or(s.ClientHeader, "X-Forwarded-For")
}

func (s *Setup) validate() error {
	if _, err := newClient(&Options{Address: s.Address}); err != nil {
		return fmt.Errorf("nginx plus setup: %w", err)
	}
	for _, path := range []string{s.StateDir, s.AllowFile} {
		if !filepath.IsAbs(path) || !plain(path) {
			return fmt.Errorf("nginx plus setup: %q is not an absolute path of plain letters", path)
		}
	}
	for _, word := range []string{s.Name, s.ClientHeader} {
		if !plain(word) {
			return fmt.Errorf("nginx plus setup: %q holds what NGINX may take for syntax", word)
		}
	}
	for _, p := range s.TrustedProxies {
		if !p.IsValid() {
			return fmt.Errorf("nginx plus setup: trusted proxy %s is no network", p)
		}
	}
	return nil
}

// plain says whether a word has nothing that NGINX takes for syntax.
func plain(word string) bool {
	return word != "" && strings.IndexFunc(word, func(c rune) bool {
		return (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') && !strings.ContainsRune("._/-", c)
	}) < 0
}

// Config is a [Setup] rendered.
type Config struct {
	Header   string // comments: how to install the rest
	HTTP     string // lines of the http block
	API      string // a server for the API
	Server   string // lines that come first in each protected server
	Location string // lines of these servers, and of their locations that have such lines themselves
}

// Render checks the setup and makes the configuration.
func (s Setup) Render() (Config, error) {
	s.setDefaults()
	if err := s.validate(); err != nil {
		return Config{}, err
	}
	tiers, err := limitreq.All(s.Rates)
	if err != nil {
		return Config{}, fmt.Errorf("nginx plus setup: %w", err)
	}
	u, err := url.Parse(s.Address)
	if err != nil {
		return Config{}, fmt.Errorf("nginx plus setup: %w", err)
	}
	view := struct {
		Setup
		Tiers             []limitreq.Tier
		SetupZone, Listen string
	}{s, tiers, setupZone, u.Host}
	if u.Scheme == "https" {
		view.Listen += " ssl" // with the certificate that the operator has
	}
	var c Config
	if err := printed.Texts(setupFiles, "setup/*.conf", view, map[string]*string{
		"header.conf": &c.Header, "http.conf": &c.HTTP, "api.conf": &c.API, "server.conf": &c.Server, "location.conf": &c.Location,
	}); err != nil {
		return Config{}, fmt.Errorf("nginx plus setup: %w", err)
	}
	return c, nil
}

// WriteTo prints everything with its explanation, for a person.
func (c Config) WriteTo(w io.Writer) (int64, error) {
	return printed.Write(w, c.Header,
		printed.Part{Where: "into the http block", Text: c.HTTP},
		printed.Part{Where: "the API, a server of its own in the http block", Text: c.API},
		printed.Part{Where: "first in every protected server", Text: c.Server},
		printed.Part{Where: "in these servers, and in their locations", Text: c.Location},
	)
}
