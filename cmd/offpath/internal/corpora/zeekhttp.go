package corpora

import (
	"slices"
	"strconv"
	"strings"
)

// zeekTransactions matches transactions by connection and place on it, or where
// the log doesn't say the connection by place in all.
func (d *Differences) zeekTransactions(c *Case, rows []*zeekRow, r *Reading) error {
	requests, err := c.Requests()
	if err != nil {
		return err
	}
	known := !slices.ContainsFunc(rows, func(row *zeekRow) bool { return row.Sport == 0 })
	want := map[tuple][]*zeekRow{}
	for _, row := range inOrder(rows) {
		key := row.tuple()
		if !known {
			key = tuple{}
		}
		if row.Method != nil || row.URI == nil && !known {
			want[key] = append(want[key], row)
		}
	}
	got := byTuple(r.Transactions)
	if !known {
		got = map[tuple][]*Transaction{{}: r.Transactions}
	}
	for key, list := range want {
		ours := got[key]
		delete(got, key)
		if len(ours) != len(list) {
			d.add("%s: %d transactions instead of %d: %v", key, len(ours), len(list), ours)
			continue
		}
		for i, row := range list {
			d.zeekTransaction(row, ours[i])
		}
	}
	for _, list := range got {
		for _, t := range list {
			// Zeek sees nothing in what it doesn't take for a connection.
			if !slices.ContainsFunc(requests, func(q Request) bool { return q.is(t) }) {
				d.add("request unexpected: %s", t)
			}
		}
	}
	return nil
}

// inOrder puts each connection's rows in the order of its requests; Zeek writes
// them in that of their ends.
func inOrder(rows []*zeekRow) []*zeekRow {
	place := map[string]int{}
	for i, row := range rows {
		if _, ok := place[row.Conn]; !ok || row.Conn == "" {
			place[row.Conn] = i
		}
	}
	rows = slices.Clone(rows)
	slices.SortStableFunc(rows, func(a, b *zeekRow) int {
		if a.Conn == "" || a.Depth == 0 || b.Depth == 0 {
			return 0
		}
		if n := place[a.Conn] - place[b.Conn]; n != 0 {
			return n
		}
		return a.Depth - b.Depth
	})
	return rows
}

func (d *Differences) zeekTransaction(row *zeekRow, t *Transaction) {
	text := func(name string, want *string, got string) {
		if want != nil && !strings.EqualFold(octets(*want), got) && !strings.EqualFold(*want, got) {
			d.add("%s: %s is %q instead of %q", t, name, got, *want)
		}
	}
	text("method", row.Method, t.HTTP.Request.Method)
	if row.Host != nil && !strings.EqualFold(withoutPort(*row.Host), t.URL.Domain) {
		d.add("%s: host is %q instead of %q", t, t.URL.Domain, *row.Host)
	}
	if row.Status == nil {
		text("version", row.Version, t.HTTP.Version) // otherwise it is the response's
	}
	text("referrer", row.Referrer, t.HTTP.Request.Referrer)
	text("user agent", row.UserAgent, t.UserAgent.Original)
	text("user", row.Username, t.User.Hash)
	if uri := percentDecoded(t.URL.Original); row.URI != nil && octets(*row.URI) != octets(uri) && *row.URI != uri {
		d.add("%s: URI is not %q", t, *row.URI)
	}
	if row.Status != nil && *row.Status != 0 && *row.Status != t.HTTP.Response.Status {
		d.add("%s: status is not %d", t, *row.Status)
	}
	if row.Interim != nil && *row.Interim != t.HTTP.Response.Status && !slices.Contains(t.Offpath.Informational, *row.Interim) {
		d.add("%s: interim status %d is missing", t, *row.Interim)
	}
	// Lengths are of the decoded content, without what is missing of it. A body
	// that ends with the connection is counted with a line end of two octets.
	toClose := int64(0)
	if response := t.Offpath.Response.Fields; field(response, "content-length") == "" && field(response, "transfer-encoding") == "" {
		toClose = 2
	}
	length := func(name string, want *int64, wire, decoded int64) {
		if want != nil && *want != decoded && *want != wire && *want != wire-t.Offpath.Gap && *want != wire+toClose {
			d.add("%s: %s has %d octets, %d decoded, %d missing, instead of %d", t, name, wire, decoded, t.Offpath.Gap, *want)
		}
	}
	length("request body", row.RequestLen, t.HTTP.Request.Body.Bytes, t.Offpath.Request.Decoded)
	length("response body", row.ResponseLen, t.HTTP.Response.Body.Bytes, t.Offpath.Response.Decoded)
	names := func(name string, want []string, fields [][2]string) {
		var got []string
		for _, f := range fields {
			got = append(got, strings.ToUpper(f[0]))
		}
		if want != nil && !slices.Equal(want, got) {
			d.add("%s: %s are %v instead of %v", t, name, got, want)
		}
	}
	names("request headers", row.RequestHeaders, t.Offpath.Request.Fields)
	names("response headers", row.ResponseHeaders, t.Offpath.Response.Fields)
}

// withoutPort is a Host field's name or address.
func withoutPort(host string) string {
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		host = host[:i]
	}
	return strings.Trim(host, "[]")
}

// percentDecoded is a URI as Zeek logs it.
func percentDecoded(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(c))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
