package corpora

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// message is what tshark says of a frame: of its HTTP messages or its
// ClientHello.
type message struct {
	Pcap   values `json:"pcap"`
	Port   values `json:"tcp.srcport"`
	Stream values `json:"tcp.stream"`

	Method values `json:"http.request.method"`
	URI    values `json:"http.request.uri"`
	Status values `json:"http.response.code"`

	StreamID values `json:"http2.streamid"`
	Method2  values `json:"http2.headers.method"`
	Path2    values `json:"http2.headers.path"`
	Status2  values `json:"http2.headers.status"`

	Handshake  values `json:"tls.handshake.type"`
	ServerName values `json:"tls.handshake.extensions_server_name"`
	JA3        values `json:"tls.handshake.ja3"`
}

// values are those of a field in a frame: a string, or a list of them.
type values []string

func (v *values) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*v = values{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(v))
}

// at is the i-th value, "" if there are not as many.
func (v values) at(i int) string {
	if i < len(v) {
		return v[i]
	}
	return ""
}

// messages reads what tshark says of a case, nothing if it says nothing.
func (c *Case) messages() ([]message, error) {
	if c.Oracle == "" {
		return nil, nil
	}
	f, err := os.Open(filepath.Join(c.folder, c.Oracle))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var list []message
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var m message
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
		list = append(list, m)
	}
	return list, lines.Err()
}

// Request is one of tshark's, with the status of its response, "" if it read
// none.
type Request struct {
	Port, Method, URI, Status string
}

func (r Request) String() string { return r.Port + " " + r.Method + " " + r.URI + " " + r.Status }

// Requests are those that tshark lists. The n-th final response on a connection
// answers its n-th request, on HTTP/2 the response of a stream its request. What
// an upgrade to HTTP/2 was asked for with is answered on stream 1 (RFC 7540
// section 3.2).
func (c *Case) Requests() ([]Request, error) {
	messages, err := c.messages()
	if err != nil {
		return nil, err
	}
	type connection struct {
		requests []Request
		statuses []string
	}
	var order []*connection
	streams := map[string]*connection{}
	note := func(key, port, method, uri, status string) {
		code, _ := strconv.Atoi(status)
		if method == "" && code < 200 && code != 101 {
			return
		}
		s := streams[key]
		if s == nil {
			s = &connection{}
			streams[key] = s
			order = append(order, s)
		}
		if method != "" {
			s.requests = append(s.requests, Request{Port: port, Method: method, URI: uri})
		} else {
			s.statuses = append(s.statuses, status)
		}
	}
	for _, m := range messages {
		if m.Stream == nil {
			continue // over UDP
		}
		key := m.Pcap.at(0) + " " + m.Stream.at(0)
		for i := range max(len(m.Method), len(m.Status)) {
			note(key, m.Port.at(0), m.Method.at(i), m.URI.at(i), "")
			note(key, "", "", "", m.Status.at(i))
		}
		for i := range max(len(m.Method2), len(m.Status2)) {
			stream := key + " " + m.StreamID.at(i)
			note(stream, m.Port.at(0), m.Method2.at(i), m.Path2.at(i), "")
			note(stream, "", "", "", m.Status2.at(i))
		}
	}
	for key, s := range streams {
		if upgraded := streams[key+" 1"]; upgraded != nil && len(upgraded.requests) == 0 && len(upgraded.statuses) == 1 {
			if i := slices.Index(s.statuses, "101"); i >= 0 {
				s.statuses[i] = upgraded.statuses[0]
			}
		}
	}
	var list []Request
	for _, s := range order {
		for i, r := range s.requests {
			if i < len(s.statuses) {
				r.Status = s.statuses[i]
			}
			list = append(list, r)
		}
	}
	return list, nil
}

// AgreedRequests are the requests of a case whose peers agree: tshark's, or where
// they agree on a body alone the one request, of which no status is known.
func (c *Case) AgreedRequests() ([]Request, error) {
	if c.Oracle != "" {
		return c.Requests()
	}
	var expected struct{ URI string }
	if err := c.expect(&expected); err != nil {
		return nil, err
	}
	return []Request{{Method: "GET", URI: expected.URI}}, nil
}

// CompareRequests compares method, URI and status of the requests; a status
// that is not known is not judged, nor a port.
func CompareRequests(want []Request, got []*Transaction) (d Differences) {
	rest := slices.Clone(got)
	for _, w := range want {
		i := slices.IndexFunc(rest, func(t *Transaction) bool { return w.is(t) })
		if i < 0 {
			d.add("request missing: %s", w)
			continue
		}
		rest = slices.Delete(rest, i, i+1)
	}
	for _, t := range rest {
		d.add("request unexpected: %s", t)
	}
	return d
}

func (r Request) is(t *Transaction) bool {
	return (r.Port == "" || r.Port == strconv.Itoa(t.Source.Port)) && r.Method == t.HTTP.Request.Method && r.URI == t.URL.Original &&
		(r.Status == "" || r.Status == strconv.Itoa(t.HTTP.Response.Status))
}

// judgeOracle compares requests and ClientHellos with tshark's. Where segments are
// missing tshark loses requests that are there: more than it lists is no fault.
func judgeOracle(c *Case, r *Reading) (d Differences, err error) {
	messages, err := c.messages()
	if err != nil {
		return nil, err
	}
	requests, err := c.Requests()
	if err != nil {
		return nil, err
	}
	d = CompareRequests(requests, r.Transactions)
	if c.Tagged("missing-segment") {
		d = slices.DeleteFunc(d, func(s string) bool { return strings.HasPrefix(s, "request unexpected") })
	}
	var want, got, wantJA3, gotJA3 []string
	for _, m := range messages {
		if slices.Contains(m.Handshake, "1") {
			want = append(want, m.ServerName.at(0))
			wantJA3 = append(wantJA3, m.JA3.at(0))
		}
	}
	for _, t := range r.Hellos {
		got = append(got, t.TLS.Client.ServerName)
		gotJA3 = append(gotJA3, t.TLS.Client.JA3)
	}
	d.sameMultiset("ClientHello with server name", want, got)
	if len(set(gotJA3)) > 1 || len(gotJA3) > 0 && gotJA3[0] != "" {
		d.sameMultiset("JA3", wantJA3, gotJA3)
	}
	return d, nil
}
