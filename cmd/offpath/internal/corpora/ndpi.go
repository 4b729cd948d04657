package corpora

import (
	"slices"
	"strings"
)

// ndpiFlow is what nDPI says of a flow; url and status are of its first
// transaction.
type ndpiFlow struct {
	Proto, Src, Dst string
	Sport, Dport    int
	NDPI            string
	Host            string `json:"host_or_sni"`
	JA3, JA4        string
	ALPN            string `json:"tls_alpn_offered"`
	URL             string
	Status          int
}

// judgeNDPI compares host and status of the first transaction of each flow of
// HTTP, and name and JA3 of the ClientHello of each of TLS.
func judgeNDPI(c *Case, r *Reading) (d Differences, err error) {
	var expected struct{ Flows []ndpiFlow }
	if err := c.expect(&expected); err != nil {
		return nil, err
	}
	lines, hellos := byTuple(r.Transactions), byTuple(r.Hellos)
	for _, f := range expected.Flows {
		key := tuple{address(f.Src), address(f.Dst), f.Sport, f.Dport}
		switch {
		case f.JA3 != "" || f.JA4 != "":
			d.ndpiHello(&f, key, either(hellos, key))
		case f.URL != "" && strings.Contains(f.NDPI, "HTTP"):
			list := either(lines, key)
			if len(list) == 0 {
				d.add("no request on %s: %s", key, f.URL)
				continue
			}
			t := list[0]
			host, _, _ := strings.Cut(f.Host, ":")
			if f.Host != "" && !strings.EqualFold(t.URL.Domain, f.Host) && !strings.EqualFold(t.URL.Domain, host) {
				d.add("%s: host is %q instead of %q", t, t.URL.Domain, f.Host)
			}
			if f.Status != 0 && f.Status != t.HTTP.Response.Status {
				d.add("%s: status is not %d", t, f.Status)
			}
		}
	}
	return d, nil
}

func (d *Differences) ndpiHello(f *ndpiFlow, key tuple, list []*Transaction) {
	if len(list) == 0 {
		d.add("no ClientHello on %s", key)
		return
	}
	one := func(match func(t *Transaction) bool) bool { return slices.ContainsFunc(list, match) }
	if f.Host != "" && !one(func(t *Transaction) bool { return strings.EqualFold(t.TLS.Client.ServerName, f.Host) }) {
		d.add("%s: server name is %q instead of %q", key, list[0].TLS.Client.ServerName, f.Host)
	}
	if f.JA3 != "" && !one(func(t *Transaction) bool { return t.TLS.Client.JA3 == f.JA3 }) {
		d.add("%s: JA3 is %q instead of %q", key, list[0].TLS.Client.JA3, f.JA3)
	}
	// It shortens other protocols than the definition does, and writes d for a
	// domain even if there is no server name.
	if f.Host == "" && len(f.JA4) > 3 {
		f.JA4 = f.JA4[:3] + "i" + f.JA4[4:]
	}
	if first, _, _ := strings.Cut(f.ALPN, ";"); (first == "" || first == "h2") && f.JA4 != "" &&
		!one(func(t *Transaction) bool { return t.TLS.Client.JA4 == f.JA4 }) {
		d.add("%s: JA4 is %q instead of %q", key, list[0].TLS.Client.JA4, f.JA4)
	}
}
