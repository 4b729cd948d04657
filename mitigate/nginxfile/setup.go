package nginxfile

import (
	"cmp"
	"embed"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"strings"

	"offpath/detect"
	"offpath/mitigate/internal/limitreq"
	"offpath/mitigate/internal/printed"
)

//go:embed setup/*.conf
var setupFiles embed.FS

// Setup is what an nginx's configuration needs to enforce verdicts. The zero value suits
// Debian's, with clients that reach it directly.
type Setup struct {
	Name    string // of the target; default lb1
	Address string // as in [Options]
	Dir     string // as in [Options]
	PIDFile string // as in [Options]
	// TrustedProxies are networks whose ClientHeader is believed, as in
	// client.trusted_proxies. Empty: the client is the peer of the connection.
	TrustedProxies []netip.Prefix
	// ClientHeader names clients, the nearest last; default X-Forwarded-For.
	ClientHeader string
	// Rates that verdicts limit to, as in [Options].
	Rates []detect.Rate
}

// slot is one of the verdicts that hold for an address, as the rules compare its expiry.
type slot struct {
	Number int
	Digits []digit
}

// digit is one that the first number has where the second one has a greater one.
type digit struct {
	Now   int
	Skip  string // over the verdicts before
	Above string // those greater, as a class
}

func slots() (all []slot) {
	for n := range nesting {
		s := slot{Number: n + 1}
		for now := range 9 {
			s.Digits = append(s.Digits, digit{now, strings.Repeat("[^,]+,", n), fmt.Sprintf("%d-9", now+1)})
		}
		all = append(all, s)
	}
	return all
}

// Config is a [Setup] rendered.
type Config struct {
	Header   string // comments: how to install the rest
	HTTP     string // lines of the http block
	Status   string // a server of its own
	Server   string // lines that come first in each protected server
	Location string // lines of these servers, and of their locations that have such lines themselves
}

// Render checks the setup and makes the configuration.
func (s Setup) Render() (Config, error) {
	s.Name = cmp.Or(s.Name, "lb1")
	s.Address = cmp.Or(s.Address, DefaultAddress)
	s.Dir = filepath.Clean(cmp.Or(s.Dir, DefaultDir))
	s.PIDFile = cmp.Or(s.PIDFile, DefaultPIDFile)
	s.ClientHeader = cmp.Or(s.ClientHeader, "X-Forwarded-For")
	for _, path := range []string{s.Dir, s.PIDFile} {
		if !PlainPath(path) {
			return Config{}, fmt.Errorf("nginx file setup: %q is not an absolute path of plain letters", path)
		}
	}
	for _, word := range []string{s.Name, s.ClientHeader} {
		if !plain(word) {
			return Config{}, fmt.Errorf("nginx file setup: %q holds what NGINX may take for syntax", word)
		}
	}
	for _, p := range s.TrustedProxies {
		if !p.IsValid() {
			return Config{}, fmt.Errorf("nginx file setup: trusted proxy %s is no network", p)
		}
	}
	network, where, problem := parseAddress(s.Address)
	if problem != "" {
		return Config{}, fmt.Errorf("nginx file setup: address %q %s", s.Address, problem)
	}
	if network == "unix" {
		where = "unix:" + where
	}
	tiers, err := limitreq.All(s.Rates)
	if err != nil {
		return Config{}, fmt.Errorf("nginx file setup: %w", err)
	}
	view := struct {
		Setup
		Tiers           []limitreq.Tier
		Slots           []slot
		Version, Listen string
	}{s, tiers, slots(), setupVersion, where}
	var c Config
	if err := printed.Texts(setupFiles, "setup/*.conf", view, map[string]*string{
		"header.conf": &c.Header, "http.conf": &c.HTTP, "status.conf": &c.Status, "server.conf": &c.Server, "location.conf": &c.Location,
	}); err != nil {
		return Config{}, fmt.Errorf("nginx file setup: %w", err)
	}
	return c, nil
}

// WriteTo prints everything with its explanation, for a person.
func (c Config) WriteTo(w io.Writer) (int64, error) {
	return printed.Write(w, c.Header,
		printed.Part{Where: "into the http block", Text: c.HTTP},
		printed.Part{Where: "a server of its own in the http block", Text: c.Status},
		printed.Part{Where: "first in every protected server", Text: c.Server},
		printed.Part{Where: "in these servers, and in their locations", Text: c.Location},
	)
}
