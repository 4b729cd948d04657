package corpora

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// zeekRow is a row of a log: a transaction or a connection. Absent and null
// mean that it isn't known.
type zeekRow struct {
	Src, Dst     string
	Sport, Dport int
	Conn         string
	Depth        int // place on the connection, from 1

	Method, Host, URI, Referrer, Version, Username *string
	UserAgent                                      *string `json:"user_agent"`
	RequestLen                                     *int64  `json:"req_body_len"`
	ResponseLen                                    *int64  `json:"resp_body_len"`
	Status                                         *int
	Interim                                        *int     `json:"info_code"`
	RequestHeaders                                 []string `json:"req_header_names"`
	ResponseHeaders                                []string `json:"resp_header_names"`

	Service    *string
	Proto      string
	VLAN       *int
	TunnelType string `json:"tunnel_type"`
	SNI        *string
}

func (r *zeekRow) tuple() tuple { return tuple{address(r.Src), address(r.Dst), r.Sport, r.Dport} }

// judgeZeek compares with Zeek's http.log, conn.log, tunnel.log, ssl.log and
// extracted bodies, as far as they are there.
func judgeZeek(c *Case, r *Reading) (d Differences, err error) {
	logs, err := c.zeekLogs()
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(c.ID, "zeek/http.261.") && !c.Agrees() {
		// Framing is contested: that it is odd must be said.
		if !slices.ContainsFunc(r.Transactions, func(t *Transaction) bool { return len(t.Offpath.Anomalies) > 0 }) {
			d.add("no anomaly")
		}
		return d, nil
	}
	if rows, ok := logs["transactions"]; ok {
		if err := d.zeekTransactions(c, rows, r); err != nil {
			return nil, err
		}
	}
	d.zeekConnections(logs, r)
	for _, row := range logs["tls"] {
		hellos := either(byTuple(r.Hellos), row.tuple())
		if !slices.ContainsFunc(hellos, func(t *Transaction) bool { return row.SNI == nil || t.TLS.Client.ServerName == *row.SNI }) {
			d.add("ClientHello missing: %s", row.tuple())
		}
	}
	return d, d.zeekBodies(c, r)
}

// zeekLogs returns the rows of each log. A case with several captures has a log
// for each; one with a single capture may have the same log in two forms.
func (c *Case) zeekLogs() (map[string][]*zeekRow, error) {
	logs := map[string][]*zeekRow{}
	if _, err := os.Stat(filepath.Join(c.folder, "expect.json")); err != nil {
		return logs, nil
	}
	var sections map[string]json.RawMessage
	if err := c.expect(&sections); err != nil {
		return nil, err
	}
	for name, text := range sections {
		log, variant, _ := strings.Cut(name, ":")
		if variant != "" && len(c.Pcaps) == 1 || !slices.Contains([]string{"transactions", "connections", "tunnels", "tls"}, log) {
			continue
		}
		var rows []*zeekRow
		if err := json.Unmarshal(text, &rows); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", c.ID, name, err)
		}
		logs[log] = append(logs[log], rows...)
	}
	return logs, nil
}

// zeekTunnels are the names of encapsulations.
var zeekTunnels = map[string][]string{
	"Tunnel::GRE":     {"gre", "erspan1", "erspan2", "erspan3"},
	"Tunnel::VXLAN":   {"vxlan"},
	"Tunnel::GENEVE":  {"geneve"},
	"Tunnel::TEREDO":  {"teredo"},
	"Tunnel::GTPv1":   {"gtp"},
	"Tunnel::AYIYA":   {"ayiya"},
	"Tunnel::IP":      {"ipip", "6in4", "4in6", "6in6"},
	"Tunnel::HTTP":    nil, // a CONNECT
	"Tunnel::SOCKS":   nil,
	"Tunnel::UNKNOWN": nil,
}

// zeekConnections: where Zeek saw HTTP or TLS there must be a line, and how it
// was wrapped.
func (d *Differences) zeekConnections(logs map[string][]*zeekRow, r *Reading) {
	lines, hellos := byTuple(r.Transactions), byTuple(r.Hellos)
	for _, row := range logs["connections"] {
		if row.Service == nil || row.Proto == "udp" || row.Src == "" {
			continue
		}
		services := strings.Split(*row.Service, ",")
		list := either(lines, row.tuple())
		if slices.Contains(services, "http") && len(list) == 0 {
			d.add("no request on %s", row.tuple())
		}
		if slices.Contains(services, "ssl") && len(either(hellos, row.tuple())) == 0 && len(list) == 0 {
			d.add("no ClientHello on %s", row.tuple())
		}
		if row.VLAN != nil && len(list) > 0 && (len(list[0].Network.VLAN.ID) == 0 || list[0].Network.VLAN.ID[0] != *row.VLAN) {
			d.add("%s: VLANs are %v instead of %d", row.tuple(), list[0].Network.VLAN.ID, *row.VLAN)
		}
	}
	for _, row := range logs["tunnels"] {
		names, ok := zeekTunnels[row.TunnelType]
		if !ok {
			d.add("tunnel %s is not known to the test", row.TunnelType)
		}
		inside := func(t *Transaction) bool {
			return slices.ContainsFunc(names, func(n string) bool { return slices.Contains(t.Offpath.Encapsulation, n) })
		}
		if names != nil && len(r.Transactions) > 0 && !slices.ContainsFunc(r.Transactions, inside) {
			d.add("no transaction is in a %s", row.TunnelType)
		}
	}
}

// zeekBodies: each body that Zeek extracted must be one of ours by its hash. Of
// one that is not whole there is no hash, its octets must be counted; parts of a
// multipart body have none of their own.
func (d *Differences) zeekBodies(c *Case, r *Reading) error {
	files, err := filepath.Glob(filepath.Join(c.folder, "baseline", "*"))
	if err != nil || !strings.Contains(c.Kind, "bodies") {
		return err
	}
	var got []string
	multipart := false
	var gap int64
	for _, t := range r.Transactions {
		got = append(got, t.hashes()...)
		gap += t.Offpath.Gap
		multipart = multipart || strings.HasPrefix(t.HTTP.Request.MIMEType+t.HTTP.Response.MIMEType, "multipart/")
	}
	for _, path := range files {
		base := filepath.Base(path)
		if !strings.HasSuffix(base, "-file") && !strings.HasPrefix(base, "extract_files") {
			continue
		}
		body, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(body)
		if !slices.Contains(got, hex.EncodeToString(sum[:])) && !multipart && gap == 0 {
			d.add("no body is that of %s, %d octets", base, len(body))
		}
	}
	if len(got) == 0 && gap == 0 {
		d.add("no bodies")
	}
	return nil
}
