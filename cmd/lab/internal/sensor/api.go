package sensor

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// maxAnswer bounds what is read of an answer, octets.
const maxAnswer = 64 << 20

// get asks the API and decodes the answer into v; a nil v drops it.
func (s *Sensor) get(ctx context.Context, path string, v any) error {
	return s.ask(ctx, http.MethodGet, path, nil, v)
}

func (s *Sensor) ask(ctx context.Context, method, path string, body []byte, v any) error {
	request, err := http.NewRequestWithContext(ctx, method, "http://offpath"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := s.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %.300s", method, path, response.Status, answer)
	}
	switch v := v.(type) {
	case nil:
		return nil
	case *string:
		*v = string(answer)
		return nil
	}
	if err := json.Unmarshal(answer, v); err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	return nil
}

// Verdict is an active verdict as the API shows it.
type Verdict struct {
	ID       string
	Client   netip.Prefix // of its subject; invalid if it names no client
	Expires  time.Time
	Operator bool   // ordered by an operator
	State    string // at the load balancer
	Message  string
}

// Verdicts returns the active verdicts.
func (s *Sensor) Verdicts(ctx context.Context) ([]Verdict, error) {
	var answer struct {
		Verdicts []shownVerdict
	}
	if err := s.get(ctx, "/api/v1/verdicts", &answer); err != nil {
		return nil, err
	}
	list := make([]Verdict, len(answer.Verdicts))
	for i, shown := range answer.Verdicts {
		var err error
		if list[i], err = shown.verdict(); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// shownVerdict is a verdict in the API's JSON.
type shownVerdict struct {
	Verdict line
	Who     string
	Targets []struct{ State string }
}

// line is a verdict's line of JSON, as far as the laboratory reads it.
type line struct {
	Event   struct{ ID string }
	Offpath struct {
		Subject struct {
			Client struct{ IP string }
		}
		Expires time.Time
	}
	Message string
}

func (s shownVerdict) verdict() (Verdict, error) {
	v := Verdict{ID: s.Verdict.Event.ID, Expires: s.Verdict.Offpath.Expires, Operator: s.Who != "", Message: s.Verdict.Message}
	if len(s.Targets) > 0 {
		v.State = s.Targets[0].State
	}
	var err error
	if ip := s.Verdict.Offpath.Subject.Client.IP; ip != "" {
		v.Client, err = parseNetwork(ip)
	}
	return v, err
}

// parseNetwork reads an address or a network.
func parseNetwork(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		return netip.ParsePrefix(s)
	}
	a, err := netip.ParseAddr(s)
	return netip.PrefixFrom(a, a.BitLen()), err
}

// Findings returns how many findings there are, what the newest says, and the one that
// says that a verdict is not enforced; "": none.
func (s *Sensor) Findings(ctx context.Context) (n int, newest, alarm string, err error) {
	var answer struct {
		Findings []struct {
			Message string
			Rule    struct{ Name string }
		}
	}
	if err := s.get(ctx, "/api/v1/findings?limit=1000", &answer); err != nil {
		return 0, "", "", err
	}
	for _, f := range answer.Findings {
		if f.Rule.Name == "verdict_not_enforced" {
			alarm = f.Message
		}
	}
	if len(answer.Findings) > 0 {
		newest = answer.Findings[0].Message
	}
	return len(answer.Findings), newest, alarm, nil
}

// Act is one line of the audit.
type Act struct {
	Time    time.Time
	Who     string
	What    string
	Verdict string
	Target  string
	Detail  string
}

// Confirms reports whether the act is a load balancer's confirmation that it
// enforces the verdict.
func (a Act) Confirms() bool { return a.What == "in_force" }

// Ends reports whether the act is the end of the verdict.
func (a Act) Ends() bool { return a.What == "expired" || a.What == "lifted" || a.What == "evicted" }

// Audit returns what was done at the load balancer, oldest first.
func (s *Sensor) Audit(ctx context.Context) ([]Act, error) {
	var answer struct{ Audit []Act }
	err := s.get(ctx, "/api/v1/audit", &answer)
	return answer.Audit, err
}

// Block orders a verdict as an operator and returns its id.
func (s *Sensor) Block(ctx context.Context, client netip.Addr, ttl time.Duration, reason string) (string, error) {
	order, err := json.Marshal(map[string]any{
		"action": "block", "subject": map[string]string{"client.ip": client.String()}, "ttl": ttl.String(), "reason": reason,
	})
	if err != nil {
		return "", err
	}
	var made shownVerdict
	if err := s.ask(ctx, http.MethodPost, "/api/v1/verdicts", order, &made); err != nil {
		return "", err
	}
	return made.Verdict.Event.ID, nil
}

// Lift ends a verdict by the command line.
func (s *Sensor) Lift(ctx context.Context, id string) error {
	_, err := s.config.run(ctx, "lift", id)
	return err
}

// Metrics are the values of /metrics by series, such as `name{label="value"}`.
type Metrics map[string]float64

// Metrics reads /metrics.
func (s *Sensor) Metrics(ctx context.Context) (Metrics, error) {
	var text string
	if err := s.get(ctx, "/metrics", &text); err != nil {
		return nil, err
	}
	return parseMetrics(text)
}

// parseMetrics reads the Prometheus text format, as far as offpath writes it:
// no time stamps, no blanks in label values.
func parseMetrics(text string) (Metrics, error) {
	m := Metrics{}
	for row := range strings.Lines(text) {
		row = strings.TrimSpace(row)
		at := strings.LastIndexByte(row, ' ')
		if at < 0 || row[0] == '#' { // empty, or a comment
			continue
		}
		value, err := strconv.ParseFloat(row[at+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("metric %q: %w", row, err)
		}
		m[row[:at]] = value
	}
	return m, nil
}

// Sum adds up the series of a metric; ok is false if there is none. With
// labels, only series that show each of them (`name="value"`) are counted.
func (m Metrics) Sum(name string, labels ...string) (sum float64, ok bool) {
next:
	for series, value := range m {
		base, rest, _ := strings.Cut(series, "{")
		if base != name {
			continue
		}
		for _, label := range labels {
			if !strings.Contains(rest, label) {
				continue next
			}
		}
		sum += value
		ok = true
	}
	return sum, ok
}
