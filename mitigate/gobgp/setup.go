package gobgp

import (
	"cmp"
	_ "embed"
	"fmt"
	"io"
	"strings"

	"offpath/mitigate/internal/printed"
)

//go:embed setup/guide.txt
var guide string

// Setup is what there is to know about a gobgpd that announces verdicts.
type Setup struct {
	Name    string // of the target; default gobgp
	Address string // of the API; default [DefaultAddress]
	Method  string // default [FlowSpec]
}

// Config is a [Setup] rendered.
type Config struct {
	Guide string // a configuration of gobgpd (TOML), what else there is to do as comments
}

// Render makes the text.
func (s Setup) Render() (Config, error) {
	s.Name = cmp.Or(s.Name, Kind)
	s.Address = cmp.Or(s.Address, DefaultAddress)
	s.Method = cmp.Or(s.Method, FlowSpec)
	host := strings.TrimPrefix(s.Address, "tcp:")
	var socket string
	if path, ok := strings.CutPrefix(s.Address, "unix:"); ok {
		host, socket = "unix://"+path, path
	}
	families := []string{"ipv4-flowspec", "ipv6-flowspec"}
	if s.Method == RTBH {
		families = []string{"ipv4-unicast", "ipv6-unicast"}
	}
	text, err := printed.Text(guide, struct {
		Setup
		Host, Socket string
		Families     []string
	}{s, host, socket, families})
	if err != nil {
		return Config{}, fmt.Errorf("gobgp setup: %w", err)
	}
	return Config{text}, nil
}

// WriteTo prints it.
func (c Config) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, c.Guide)
	return int64(n), err
}
