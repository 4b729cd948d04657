package corpora

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// eicar are the hashes of the bodies that contain the antivirus test file: alone,
// or followed by a line end or by as much junk as the evasions append. The text
// is put together here, so that virus scanners leave this file alone.
var eicar = func() map[string]bool {
	text := "X5O!P%@AP[4" + `\PZX54(P^)7CC)7}$` + "EICAR-STANDARD-ANTIVIRUS-" + "TEST-FILE!$H+H*"
	hashes := map[string]bool{}
	for _, junk := range []string{"x", "X", "\n", "\r\n"} {
		for n := range 2*len(text) + 1 {
			sum := sha256.Sum256([]byte(text + strings.Repeat(junk, n)))
			hashes[hex.EncodeToString(sum[:])] = true
		}
	}
	return hashes
}()

// suricataFilter counts the events that have all of the members.
type suricataFilter struct {
	Event    string
	Count    int
	Neutral  map[string]any
	Portable bool
}

// judgeSuricata counts what matches each filter that is not Suricata's alone.
func judgeSuricata(c *Case, r *Reading) (d Differences, err error) {
	var expected struct {
		Filters []suricataFilter
		Body    []string `json:"body_must_contain"`
		URI     string
	}
	if err := c.expect(&expected); err != nil {
		return nil, err
	}
	if len(expected.Body) > 0 {
		d.evaded(expected.URI, r)
		return d, nil
	}
	messages, err := c.messages()
	if err != nil {
		return nil, err
	}
	if answersAlone(messages) && !c.Tagged("missing-segment") { // then tshark loses requests
		for _, t := range r.Transactions {
			d.add("request unexpected: %s", t)
		}
		return d, nil
	}
	for _, f := range expected.Filters {
		if !f.Portable {
			continue
		}
		if n, known := f.count(r); !known {
			d.add("the test does not know the filter %s %v", f.Event, f.Neutral)
		} else if n != f.Count {
			d.add("%d instead of %d are %s %v", n, f.Count, f.Event, f.Neutral)
		}
	}
	return d, nil
}

// answersAlone reports whether a capture holds responses and no request, which
// Suricata counts: what nobody is seen to ask for makes no transaction here.
func answersAlone(messages []message) bool {
	answers := 0
	for _, m := range messages {
		if m.Method != nil || m.Method2 != nil || slices.Contains(m.Handshake, "1") {
			return false
		}
		answers += len(m.Status) + len(m.Status2)
	}
	return answers > 0
}

// evaded: one request, and a response that brings the test file, as a browser
// decodes it.
func (d *Differences) evaded(uri string, r *Reading) {
	if len(r.Transactions) != 1 {
		d.add("%d transactions instead of 1", len(r.Transactions))
		return
	}
	t := r.Transactions[0]
	if t.HTTP.Request.Method != "GET" || t.URL.Domain != "evader.example.com" || t.URL.Original != uri {
		d.add("%s: is not GET of evader.example.com%s", t, uri)
	}
	if hash := t.HTTP.Response.Body.Hash.SHA256; !eicar[hash] {
		encoding := field(t.Offpath.Response.Fields, "content-encoding") + field(t.Offpath.Response.Fields, "transfer-encoding")
		d.add("%s %q: the body of %d octets, %d decoded, is not the test file; %v", t, encoding, t.HTTP.Response.Body.Bytes, t.Offpath.Response.Decoded, t.Offpath.Anomalies)
	}
}

// count is how many of our lines match, for the events that have lines.
func (f *suricataFilter) count(r *Reading) (n int, known bool) {
	lines, members := r.Transactions, f.Neutral
	switch f.Event {
	case "http":
		if len(members) == 0 && settings(lines) == f.Count-len(lines) {
			return f.Count, true
		}
	case "fileinfo":
		// A body of either direction is a file, and goes from its sender.
		lines = nil
		for _, t := range r.Transactions {
			if t.HTTP.Request.Body.Bytes > 0 {
				lines = append(lines, t)
			}
			if t.HTTP.Response.Body.Bytes > 0 {
				answer := *t
				answer.Source, answer.Destination = t.Destination, t.Source
				lines = append(lines, &answer)
			}
		}
		lines = append(lines, joined(r.Transactions)...)
	case "tls", "quic":
		lines = nil // one event for a connection, that of its first ClientHello
		for _, list := range byTuple(r.Hellos) {
			lines = append(lines, list[0])
		}
	case "flow":
		return f.flows(r), true
	default:
		return 0, false
	}
	for _, t := range lines {
		all := true
		for name, want := range members {
			match, ok := t.suricata(name, want)
			if !ok {
				return 0, false
			}
			all = all && match
		}
		if all {
			n++
		}
	}
	return n, true
}

// settings is how many events Suricata has of stream 0, which carries no request:
// one for each side of a connection that speaks HTTP/2.
func settings(lines []*Transaction) (n int) {
	for _, list := range byTuple(lines) {
		if slices.ContainsFunc(list, func(t *Transaction) bool { return t.HTTP.Version == "2" }) {
			n += 2
		}
	}
	return n
}

// joined are the files that Suricata puts together from responses to requests for
// ranges: a line for each URL of which all octets came, and not at once.
func joined(list []*Transaction) (files []*Transaction) {
	parts := map[string][]*Transaction{}
	for _, t := range list {
		if t.HTTP.Response.Status == 206 {
			url := t.URL.Domain + t.URL.Original
			parts[url] = append(parts[url], t)
		}
	}
	for _, list := range parts {
		type span struct{ first, last, size int64 }
		var spans []span
		for _, t := range list {
			var s span
			n, _ := fmt.Sscanf(field(t.Offpath.Response.Fields, "content-range"), "bytes %d-%d/%d", &s.first, &s.last, &s.size)
			if n == 3 && t.HTTP.Response.Body.Bytes == s.last-s.first+1 {
				spans = append(spans, s)
			}
		}
		slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.first, b.first) })
		var have int64
		for _, s := range spans {
			if s.first <= have {
				have = max(have, s.last+1)
			}
		}
		if len(spans) > 1 && have == spans[0].size {
			file := *list[0]
			file.Source, file.Destination = file.Destination, file.Source
			file.HTTP.Response.Body.Bytes, file.Offpath.Response.Decoded = have, have
			files = append(files, &file)
		}
	}
	return files
}

// flows counts connections that have a line, where HTTP is asked for; of others
// we say nothing.
func (f *suricataFilter) flows(r *Reading) int {
	if f.Neutral["app_proto"] != "http" {
		return f.Count
	}
	n := 0
	for _, list := range byTuple(r.Transactions) {
		match := true
		for _, name := range []string{"src", "dst", "sport", "dport"} {
			if want, ok := f.Neutral[name]; ok {
				m, _ := list[0].suricata(name, want)
				match = match && m
			}
		}
		if match {
			n++
		}
	}
	return n
}

// answeredOnStream reports whether a request asked for an upgrade to HTTP/2: its
// answer came on stream 1. Suricata takes the 101 for the answer, and what comes on
// the stream for another one.
func (t *Transaction) answeredOnStream() bool {
	return slices.Contains(t.Offpath.Informational, 101)
}

// suricata compares a member of a filter; known is false if it is none that the
// lines have. What is Suricata's own matches anything.
func (t *Transaction) suricata(name string, want any) (match, known bool) {
	text := fmt.Sprint(want)
	length := func(n int64) bool { return float64(n) == want }
	response := t.Offpath.Response.Fields
	switch name {
	case "proto", "app_proto", "body_stored", "tls_version", "body_tx_id":
		return true, true
	case "src":
		return address(text) == address(t.Source.IP), true
	case "dst":
		return address(text) == address(t.Destination.IP), true
	case "sport":
		return length(int64(t.Source.Port)), true
	case "dport":
		return length(int64(t.Destination.Port)), true
	case "vlan0":
		return len(t.Network.VLAN.ID) > 0 && length(int64(t.Network.VLAN.ID[0])), true
	case "tx_id":
		return length(int64(t.place)), true
	case "method":
		return t.HTTP.Request.Method == text, true
	case "uri":
		return t.URL.Original == text || t.URL.Path == text, true
	case "host":
		return strings.EqualFold(t.URL.Domain, text), true
	case "version":
		return "HTTP/"+t.HTTP.Version == text || t.HTTP.Version == text || text == "2" && t.answeredOnStream(), true
	case "user_agent":
		return t.UserAgent.Original == text, true
	case "referrer":
		return t.HTTP.Request.Referrer == text, true
	case "status":
		return length(int64(t.HTTP.Response.Status)) || want == 101.0 && t.answeredOnStream(), true
	case "resp_content_type":
		return t.HTTP.Response.MIMEType == text, true
	case "location":
		return field(response, "location") == text, true
	case "response_headers[0].name":
		return field(response, text) != "", true
	case "response_headers[0].value":
		return slices.ContainsFunc(response, func(f [2]string) bool { return f[1] == text }), true
	case "resp_wire_len":
		// With the framing of chunks, which we don't count.
		return length(t.HTTP.Response.Body.Bytes) || field(response, "transfer-encoding") != "", true
	case "body_size":
		bodies := []int64{t.HTTP.Request.Body.Bytes, t.HTTP.Response.Body.Bytes}
		return length(t.Offpath.Request.Decoded) || length(t.Offpath.Response.Decoded) ||
			t.Offpath.Gap > 0 && slices.ContainsFunc(bodies, func(n int64) bool { return length(n) || length(n-t.Offpath.Gap) }), true
	case "body_sha256":
		// Of a body that is not whole there is none; Suricata hashes what it has.
		return slices.Contains(t.hashes(), text) || t.Offpath.Gap > 0 && !t.Offpath.Complete, true
	case "body_gaps":
		return (t.Offpath.Gap > 0) == want, true
	case "body_state":
		return t.Offpath.Complete == (text == "CLOSED") || t.Offpath.Gap > 0, true
	case "body_filename":
		path := t.URL.Path
		return path == text || path[strings.LastIndexByte(path, '/')+1:] == text || strings.Contains(field(response, "content-disposition"), text), true
	case "sni":
		return t.TLS.Client.ServerName == text, true
	case "ja4":
		return t.TLS.Client.JA4 == text, true
	}
	return false, false
}
