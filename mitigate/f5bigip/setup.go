package f5bigip

import (
	"cmp"
	"embed"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"offpath/mitigate/internal/printed"
)

//go:embed setup/*
var setupFiles embed.FS

// setupMark is a line of the iRule that tells its version: raised when it changes in what
// it does with what is written here.
const setupMark = "offpath setup 1"

// groups are the data groups that the iRule needs.
var groups = []struct{ Name, Type string }{
	{addressGroup, typeIP}, {networkGroup, typeIP}, {allowGroup, typeIP}, {ownAllowGroup, typeIP},
	{modeGroup, typeString}, {offGroup, typeString}, {lifeGroup, typeString},
}

// Setup is what a BIG-IP's configuration needs to enforce verdicts. The zero value suits
// one that clients reach directly.
type Setup struct {
	Name      string // of the target; default lb1
	Address   string // of iControl REST, as in [Options]; default https://192.0.2.10
	User      string // default offpath
	Partition string // default [DefaultPartition]
	// TrustedProxies are networks whose X-Forwarded-For is believed, as in
	// client.trusted_proxies. Empty: the client is the peer of the connection.
	TrustedProxies []netip.Prefix
}

// Config is a [Setup] rendered.
type Config struct {
	Header string // comments: how to install the rest
	Groups string // tmsh commands that make the data groups
	Rule   string // the iRule
}

// PlainName says whether a name of a partition or user has nothing that tmsh or Tcl takes
// for syntax.
func PlainName(name string) bool {
	return name != "" && len(name) <= 64 && strings.IndexFunc(name, func(c rune) bool {
		return (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') && !strings.ContainsRune("._-", c)
	}) < 0
}

// Render checks the setup and makes the configuration.
func (s Setup) Render() (Config, error) {
	s.Name = cmp.Or(s.Name, "lb1")
	s.Address = cmp.Or(s.Address, "https://192.0.2.10")
	s.User = cmp.Or(s.User, "offpath")
	s.Partition = cmp.Or(s.Partition, DefaultPartition)
	if problem := CheckAddress(s.Address); problem != "" {
		return Config{}, fmt.Errorf("f5 bigip setup: address %q %s", s.Address, problem)
	}
	for _, name := range []string{s.Name, s.User, s.Partition} {
		if !PlainName(name) {
			return Config{}, fmt.Errorf("f5 bigip setup: %q is not a name of letters, digits, '.', '_' and '-'", name)
		}
	}
	for _, p := range s.TrustedProxies {
		if !p.IsValid() {
			return Config{}, fmt.Errorf("f5 bigip setup: trusted proxy %s is no network", p)
		}
	}
	view := struct {
		Setup
		List any
		Mark string
	}{s, groups, setupMark}
	var c Config
	if err := printed.Texts(setupFiles, "setup/*", view, map[string]*string{"header.txt": &c.Header, "groups.tmsh": &c.Groups, "rule.tcl": &c.Rule}); err != nil {
		return Config{}, fmt.Errorf("f5 bigip setup: %w", err)
	}
	return c, nil
}

// WriteTo prints everything with its explanation, for a person.
func (c Config) WriteTo(w io.Writer) (int64, error) {
	return printed.Write(w, c.Header, printed.Part{Where: "tmsh commands", Text: c.Groups}, printed.Part{Where: "the iRule offpath", Text: c.Rule})
}
