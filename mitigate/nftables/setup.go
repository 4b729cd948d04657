package nftables

import (
	"cmp"
	_ "embed"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"offpath/mitigate/internal/printed"
)

//go:embed setup/guide.txt
var guide string

// Setup is what there is to know about a host whose kernel enforces verdicts.
type Setup struct {
	Name           string // of the target; default nftables
	Ports          []uint16
	TrustedProxies []netip.Prefix // as in client.trusted_proxies
}

// Config is a [Setup] rendered.
type Config struct {
	Guide string // comments: nothing has to be installed
}

// Render makes the text.
func (s Setup) Render() (Config, error) {
	s.Name = cmp.Or(s.Name, Kind)
	if len(s.Ports) == 0 {
		s.Ports = []uint16{80, 443}
	}
	var ports []string
	for _, p := range slices.Sorted(slices.Values(s.Ports)) {
		ports = append(ports, fmt.Sprint(p))
	}
	text, err := printed.Text(guide, struct {
		Setup
		List string
	}{s, strings.Join(ports, ", ")})
	if err != nil {
		return Config{}, fmt.Errorf("nftables setup: %w", err)
	}
	return Config{text}, nil
}

// WriteTo prints it.
func (c Config) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, c.Guide)
	return int64(n), err
}
