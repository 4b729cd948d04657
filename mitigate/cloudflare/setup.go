package cloudflare

import (
	"cmp"
	_ "embed"
	"fmt"
	"io"
	"strings"

	"offpath/detect"
	"offpath/mitigate/internal/printed"
)

//go:embed setup/setup.sh
var setupText string

// Setup is what an operator has to do at Cloudflare.
type Setup struct {
	Name     string   // of the target; default edge
	Account  string   // id; default one to be replaced
	Zones    []string // ids; default one to be replaced
	Address  string   // of the API; default [DefaultAddress]
	Capacity int      // default [DefaultCapacity]
}

// plainAddress are the octets of an address of the API that a shell takes for nothing else.
const plainAddress = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:/.-_[]"

// Render checks the setup and makes the script, which says in comments what else to do.
func (s Setup) Render() (io.WriterTo, error) {
	nobodys := func() ([]byte, error) { return nil, nil }
	const id = "00000000000000000000000000000000"
	o := Options{Name: cmp.Or(s.Name, "edge"), Account: cmp.Or(s.Account, id), Zones: s.Zones, Address: s.Address, Capacity: s.Capacity, Token: nobodys}
	if len(o.Zones) == 0 {
		o.Zones = []string{id}
	}
	t, err := New(o)
	if err != nil {
		return nil, err
	}
	if strings.Trim(t.options.Address, plainAddress) != "" {
		return nil, fmt.Errorf("cloudflare setup: address %q has more than letters, digits and the marks of an address", t.options.Address)
	}
	view := struct {
		Options
		Block, Allow, Ref, Off, InBlock, Expression string
		Hours                                       int
	}{t.options, blockList, allowList, ruleRef, descriptions[detect.ModeOff], inBlock, inBlock + " and " + notInAllow + " and " + before + neverBefore, int(DefaultLease.Hours())}
	view.Address = t.client.base
	text, err := printed.Text(setupText, view)
	if err != nil {
		return nil, fmt.Errorf("cloudflare setup: %w", err)
	}
	return strings.NewReader(text), nil
}
