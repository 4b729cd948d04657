package corpora

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Reading is what replay wrote of a case's captures.
type Reading struct {
	Transactions []*Transaction // in order of their start
	Hellos       []*Transaction // lines of ClientHellos
}

// Transaction is a line of JSON, with those keys that comparers look at.
type Transaction struct {
	Timestamp   time.Time `json:"@timestamp"`
	Event       struct{ Action string }
	Source      endpoint
	Destination endpoint
	Network     struct{ VLAN struct{ ID []int } }
	HTTP        struct {
		Version           string
		Request, Response struct {
			Method   string
			Status   int    `json:"status_code"`
			MIMEType string `json:"mime_type"`
			Referrer string
			Body     struct {
				Bytes int64
				Hash  struct{ SHA256 string }
			}
		}
	}
	URL       struct{ Original, Domain, Path, Query string }
	UserAgent struct{ Original string } `json:"user_agent"`
	User      struct{ Hash string }
	TLS       struct {
		Client struct {
			JA3, JA4   string
			ServerName string `json:"server_name"`
		}
	}
	Offpath struct {
		Sequence          int
		Request, Response struct {
			Headers []string
			Fields  [][2]string `json:"header_fields"`
			Decoded int64       `json:"decoded_bytes"`
		}
		Encapsulation []string
		Informational []int
		Flags         []string
		Anomalies     []string
		Gap           int64 `json:"gap_bytes"`
		Complete      bool
	}

	place int // on the connection, or since its last CONNECT
}

type endpoint struct {
	IP   string
	Port int
}

// String is the request and its status in short.
func (t *Transaction) String() string {
	return fmt.Sprintf("%d %s %s %d", t.Source.Port, t.HTTP.Request.Method, t.URL.Original, t.HTTP.Response.Status)
}

// Parse reads lines as replay writes them, of one capture after the other.
func Parse(lines []byte) (*Reading, error) {
	r := &Reading{}
	for line := range bytes.Lines(lines) {
		t := &Transaction{}
		if err := json.Unmarshal(line, t); err != nil {
			return nil, fmt.Errorf("%w in %s", err, line)
		}
		if t.Event.Action == "tls-client-hello" {
			r.Hellos = append(r.Hellos, t)
			continue
		}
		t.unescape()
		r.Transactions = append(r.Transactions, t)
	}
	slices.SortStableFunc(r.Transactions, func(a, b *Transaction) int {
		if n := a.Timestamp.Compare(b.Timestamp); n != 0 {
			return n
		}
		return a.Offpath.Sequence - b.Offpath.Sequence
	})
	for _, list := range byTuple(r.Transactions) {
		first := 0
		for _, t := range list {
			t.place = t.Offpath.Sequence - first
			if slices.Contains(t.Offpath.Flags, "tunnel") {
				first = t.Offpath.Sequence + 1
			}
		}
	}
	return r, nil
}

// unescape undoes what the lines do to octets that are no UTF-8.
func (t *Transaction) unescape() {
	for _, s := range []*string{
		&t.URL.Original, &t.URL.Domain, &t.URL.Path, &t.URL.Query, &t.UserAgent.Original, &t.User.Hash,
		&t.HTTP.Request.Method, &t.HTTP.Request.Referrer,
	} {
		*s = octets(*s)
	}
	for _, fields := range [][][2]string{t.Offpath.Request.Fields, t.Offpath.Response.Fields} {
		for i := range fields {
			fields[i] = [2]string{octets(fields[i][0]), octets(fields[i][1])}
		}
	}
}

// octets turns \\ to a backslash and \xNN to an octet.
func octets(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			if s[i+1] == '\\' {
				i++
			} else if c, err := strconv.ParseUint(s[min(i+2, len(s)):min(i+4, len(s))], 16, 8); err == nil && s[i+1] == 'x' {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// tuple is a connection, client first.
type tuple struct {
	src, dst     string
	sport, dport int
}

func (t *Transaction) tuple() tuple {
	return tuple{address(t.Source.IP), address(t.Destination.IP), t.Source.Port, t.Destination.Port}
}

func (t tuple) reversed() tuple { return tuple{t.dst, t.src, t.dport, t.sport} }

func (t tuple) String() string {
	return fmt.Sprintf("%s:%d > %s:%d", t.src, t.sport, t.dst, t.dport)
}

// address writes an address in the one short form.
func address(s string) string {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Unmap().String()
	}
	return s
}

// byTuple sorts lines by connection.
func byTuple(list []*Transaction) map[tuple][]*Transaction {
	m := map[tuple][]*Transaction{}
	for _, t := range list {
		m[t.tuple()] = append(m[t.tuple()], t)
	}
	return m
}

// either returns the lines of a connection whichever end is named first.
func either(m map[tuple][]*Transaction, key tuple) []*Transaction {
	if list := m[key]; list != nil {
		return list
	}
	return m[key.reversed()]
}

// field returns the value of the first field of a name, in lower case.
func field(fields [][2]string, name string) string {
	for _, f := range fields {
		if strings.EqualFold(f[0], name) {
			return f[1]
		}
	}
	return ""
}

// hashes are those of the bodies that were read.
func (t *Transaction) hashes() []string {
	var list []string
	for _, h := range []string{t.HTTP.Request.Body.Hash.SHA256, t.HTTP.Response.Body.Hash.SHA256} {
		if h != "" {
			list = append(list, h)
		}
	}
	return list
}
