package nginxfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"offpath/detect"
)

// setupVersion is the first line of what the printed server answers: raised when the
// printed rules change in what they do with the files.
const setupVersion = "offpath nginx_file 1"

// maxStatus bounds an answer, octets.
const maxStatus = 8 << 10

// ErrNotPrepared says that nginx lacks the printed rules, or has others.
var ErrNotPrepared = errors.New("nginx is not prepared: add what `offpath target-config` prints to its configuration")

// status is what nginx says of itself.
type status struct {
	dir        string
	rates      []string
	generation string
	mode       detect.Mode
	local      bool // off by hand
	worker     int  // who answered
	version    string
	time       time.Time
}

// parseStatus reads an answer; one that is cut short is none.
func parseStatus(answer string) (s status, ok bool) {
	lines := strings.Split(answer, "\n")
	if len(lines) < 3 || lines[0] != setupVersion || lines[len(lines)-2] != "end" || lines[len(lines)-1] != "" {
		return s, false
	}
	for _, line := range lines[1 : len(lines)-2] {
		key, value, _ := strings.Cut(line, " ")
		var err error
		switch key {
		case "dir":
			s.dir = value
		case "rates":
			s.rates = strings.Fields(value)
		case "generation":
			s.generation = value
		case "mode":
			s.mode = detect.Mode(value)
			if s.local = value == "hand"; s.local {
				s.mode = detect.ModeOff
			}
		case "worker":
			s.worker, err = strconv.Atoi(value)
		case "version":
			const longest = 64
			s.version = value[:min(longest, len(value))]
		case "time":
			// Milliseconds: seconds, a dot, three digits.
			var ms int64
			ms, err = strconv.ParseInt(strings.Replace(value, ".", "", 1), 10, 64)
			s.time = time.UnixMilli(ms)
		}
		if err != nil {
			return status{}, false
		}
	}
	switch s.mode {
	case detect.ModeOff, detect.ModeMonitor, detect.ModeEnforce:
	default:
		return status{}, false
	}
	return s, s.worker > 0 && s.generation != "" && s.dir != ""
}

// maxSocketPath is the longest path of a unix socket, octets (unix(7)).
const maxSocketPath = 107

// CheckAddress says what is wrong with an address of nginx's own server for offpath; "" if
// nothing is.
func CheckAddress(address string) string {
	_, _, problem := parseAddress(address)
	return problem
}

// parseAddress reads tcp:HOST:PORT, of a loopback address, or unix:PATH.
func parseAddress(address string) (network, where, problem string) {
	kind, rest, _ := strings.Cut(address, ":")
	switch kind {
	case "unix":
		switch {
		case !PlainPath(rest):
			return "", "", "has no absolute path of plain letters"
		case len(rest) > maxSocketPath:
			return "", "", "has a longer path than a unix socket may"
		}
		return "unix", rest, ""
	case "tcp":
		to, err := netip.ParseAddrPort(rest)
		if err != nil || !to.Addr().IsLoopback() || to.Port() == 0 {
			return "", "", "is no port of a loopback address"
		}
		return "tcp", rest, ""
	}
	return "", "", "is neither tcp:ADDRESS:PORT nor unix:PATH"
}

// newClient asks on a connection of its own each time: one kept open would stay with an
// old worker.
func newClient(network, where string) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: maxStatus,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, network, where)
			},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// ask has nginx say what it has in force.
func (t *Target) ask(ctx context.Context) (status, error) {
	ctx, cancel := context.WithTimeout(ctx, t.options.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://offpath/", nil)
	if err != nil {
		return status{}, err
	}
	response, err := t.client.Do(request)
	if err != nil {
		return status{}, fmt.Errorf("ask nginx at %s: %w", t.options.Address, err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxStatus))
	if err != nil {
		return status{}, fmt.Errorf("ask nginx at %s: %w", t.options.Address, err)
	}
	s, ok := parseStatus(string(answer))
	switch {
	case !ok || response.StatusCode != http.StatusOK:
		return status{}, fmt.Errorf("%s answers %s: %w", t.options.Address, response.Status, ErrNotPrepared)
	case s.dir != t.options.Dir:
		return status{}, fmt.Errorf("nginx reads the folder %s, and conf_dir is %s: %w", s.dir, t.options.Dir, ErrNotPrepared)
	}
	for _, tier := range t.tiers {
		if !slices.Contains(s.rates, tier.Name()) {
			return status{}, fmt.Errorf("it lacks the rate %s: %w", tier.Name(), ErrNotPrepared)
		}
	}
	return s, nil
}
