package jsonl

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"offpath/detect"
)

// maxLine is the longest line that a Reader takes, octets.
const maxLine = 1 << 20

// LineError says what is wrong with a line, and which it is.
type LineError struct {
	Line int // from 1
	Err  error
}

// Error names the line.
func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap returns what is wrong.
func (e *LineError) Unwrap() error { return e.Err }

// Reader reads verdicts. It is for one goroutine.
type Reader struct {
	lines   *bufio.Scanner
	line    int
	verdict *detect.Verdict
	err     error
}

// NewReader makes a Reader of JSON Lines.
func NewReader(r io.Reader) *Reader {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 4096), maxLine)
	return &Reader{lines: s}
}

// Next reads the next verdict; empty lines are skipped. It returns false at
// the end of the input and at the first line that is no verdict.
func (r *Reader) Next() bool {
	if r.err != nil {
		return false
	}
	for r.lines.Scan() {
		r.line++
		if len(r.lines.Bytes()) == 0 {
			continue
		}
		v, err := ParseVerdict(r.lines.Bytes())
		if err != nil {
			r.err = &LineError{r.line, err}
			return false
		}
		r.verdict = v
		return true
	}
	if err := r.lines.Err(); err != nil {
		r.err = &LineError{r.line + 1, err}
	}
	return false
}

// Verdict is what the last Next read; it is the caller's.
func (r *Reader) Verdict() *detect.Verdict { return r.verdict }

// Err is the *[LineError] that ended the reading, nil at the end of the input.
func (r *Reader) Err() error { return r.err }

// record is a verdict's line.
type record struct {
	Timestamp string `json:"@timestamp"`
	Event     struct {
		ID string `json:"id"`
	} `json:"event"`
	Offpath struct {
		Action  string  `json:"action"`
		Subject subject `json:"subject"`
		Rate    *struct {
			Requests int    `json:"requests"`
			Per      string `json:"per"`
		} `json:"rate"`
		Mode     string   `json:"mode"`
		Expires  string   `json:"expires"`
		Finding  []string `json:"finding"`
		Policy   string   `json:"policy"`
		Expected struct {
			Attack     float64 `json:"attack_requests_per_minute"`
			Legitimate float64 `json:"legitimate_requests_per_million"`
		} `json:"expected"`
	} `json:"offpath"`
	Message string `json:"message"`
}

type subject struct {
	Client struct {
		IP string `json:"ip"`
	} `json:"client"`
	Offpath struct {
		Fingerprint string `json:"fingerprint"`
		Endpoint    string `json:"endpoint"`
		Session     string `json:"session"`
	} `json:"offpath"`
	UserAgent struct {
		Original string `json:"original"`
	} `json:"user_agent"`
	TLS struct {
		Client struct {
			JA4 string `json:"ja4"`
		} `json:"client"`
	} `json:"tls"`
	URL struct {
		Domain string `json:"domain"`
	} `json:"url"`
	User struct {
		Hash string `json:"hash"`
	} `json:"user"`
}

// parse takes the predicate out of a line.
func (s *subject) parse() (detect.Subject, error) {
	parsed := detect.Subject{
		Fingerprint: wire(s.Offpath.Fingerprint), UserAgent: wire(s.UserAgent.Original),
		JA4: wire(s.TLS.Client.JA4), Endpoint: wire(s.Offpath.Endpoint), Domain: wire(s.URL.Domain),
		Session: wire(s.Offpath.Session), UserHash: wire(s.User.Hash),
	}
	if s.Client.IP == "" {
		return parsed, nil
	}
	var err error
	if parsed.Client, err = parsePrefix(s.Client.IP); err != nil {
		return parsed, fmt.Errorf("offpath.subject.client.ip: %w", err)
	}
	return parsed, nil
}

// ParseVerdict reads one line, with or without its line feed.
func ParseVerdict(line []byte) (*detect.Verdict, error) {
	var in record
	if err := json.Unmarshal(line, &in); err != nil {
		return nil, err
	}
	o := &in.Offpath
	if in.Event.ID == "" || o.Action == "" {
		return nil, errors.New("no verdict: event.id or offpath.action is missing")
	}
	v := &detect.Verdict{
		ID: wire(in.Event.ID), Action: detect.Action(wire(o.Action)), Mode: detect.Mode(wire(o.Mode)), Message: wire(in.Message), Policy: wire(o.Policy),
		Expected: detect.Expected{AttackRequestsPerMinute: o.Expected.Attack, LegitimateRequestsPerMillion: o.Expected.Legitimate},
	}
	for _, id := range o.Finding {
		v.Findings = append(v.Findings, wire(id))
	}
	var err error
	if v.Time, err = parseTime("@timestamp", in.Timestamp); err != nil {
		return nil, err
	}
	if v.Expires, err = parseTime("offpath.expires", o.Expires); err != nil {
		return nil, err
	}
	if v.Subject, err = o.Subject.parse(); err != nil {
		return nil, err
	}
	if o.Rate != nil {
		per, err := time.ParseDuration(o.Rate.Per)
		if err != nil {
			return nil, fmt.Errorf("offpath.rate.per: %w", err)
		}
		v.Rate = detect.Rate{Requests: o.Rate.Requests, Per: per.Nanoseconds()}
	}
	return v, nil
}

// parseTime refuses what ns since the epoch can't hold.
func parseTime(name, text string) (int64, error) {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	if ns := t.UnixNano(); time.Unix(0, ns).Equal(t) {
		return ns, nil
	}
	return 0, fmt.Errorf("%s: %q is outside of the years 1678 to 2261", name, text)
}

func parsePrefix(text string) (netip.Prefix, error) {
	if strings.Contains(text, "/") {
		return netip.ParsePrefix(text)
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}, err
	}
	return netip.PrefixFrom(a, a.BitLen()), nil
}

// wire undoes the escaping rule: \\ is a backslash and \xNN an octet; any other
// backslash stays.
func wire(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b []byte
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			if s[i+1] == '\\' {
				b = append(b, '\\')
				i++
				continue
			}
			if s[i+1] == 'x' && i+3 < len(s) {
				if octet, err := strconv.ParseUint(s[i+2:i+4], 16, 8); err == nil {
					b = append(b, byte(octet))
					i += 3
					continue
				}
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}
