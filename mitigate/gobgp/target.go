package gobgp

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	api "github.com/osrg/gobgp/v3/api"
	"google.golang.org/grpc"

	"offpath/detect"
	"offpath/mitigate"
)

// Kind is the type of this target in the configuration.
const Kind = "gobgp"

// Defaults of [Options].
const (
	DefaultAddress          = "tcp:127.0.0.1:50051"
	DefaultTimeout          = 10 * time.Second
	DefaultFlowSpecCapacity = 1000 // routers have room for one to four thousand rules
	DefaultRTBHCapacity     = 10_000
)

// Bounds of [Options].
const (
	MaxPorts        = 16
	MaxDestinations = 16
	MaxCapacity     = 100_000
)

// Options of a target.
type Options struct {
	Name    string // of the target; default: gobgp
	Address string // of gobgpd's API: tcp:ADDRESS:PORT on loopback, or unix:PATH; default [DefaultAddress]
	Method  string // FlowSpec or RTBH
	// Destinations are the networks that FlowSpec protects, and Ports, of TCP and UDP, the
	// services there; without ports, all. Of IPv4, IPv6 or both: clients of a family without
	// destination can't be blocked.
	Destinations []netip.Prefix
	Ports        []uint16
	// NextHops are what RTBH routes point to, at most one for each family.
	NextHops []netip.Addr
	// Capacity is the most routes, 1 to [MaxCapacity]; 0: [DefaultFlowSpecCapacity] or
	// [DefaultRTBHCapacity].
	Capacity int
	// Timeout is for one exchange; default [DefaultTimeout].
	Timeout time.Duration
}

// Target is a gobgpd. The API has no authentication of its own, so it is reached on this host
// alone.
type Target struct {
	options Options
	conn    *grpc.ClientConn
	api     api.GobgpApiClient

	// halt is above 0 while the kill switch waits for mu: a load under way stops.
	halt atomic.Int32

	// mu is held while routes are written, and guards what is known of them.
	mu        sync.Mutex
	loaded    bool // announced is what gobgpd holds, as far as we know
	mode      detect.Mode
	asn       uint32
	entries   map[netip.Prefix]mitigate.Entry // wanted; nil: what gobgpd holds
	announced map[rule]route
	held      []netip.Prefix // allow-list
}

var _ mitigate.Target = (*Target)(nil)

// CheckAddress says what is wrong with an address; "" if nothing is.
func CheckAddress(address string) string {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		if !strings.HasPrefix(path, "/") {
			return "has no absolute path"
		}
		return ""
	}
	rest, ok := strings.CutPrefix(address, "tcp:")
	a, err := netip.ParseAddrPort(rest)
	switch {
	case !ok || err != nil || a.Port() == 0:
		return "is not tcp:ADDRESS:PORT or unix:PATH"
	case !a.Addr().IsLoopback():
		return "is not on this host: the API asks nobody who he is"
	}
	return ""
}

// New makes a target; it does not reach out to gobgpd.
func New(o Options) (*Target, error) {
	o.Name = cmp.Or(o.Name, Kind)
	o.Address = cmp.Or(o.Address, DefaultAddress)
	o.Timeout = cmp.Or(o.Timeout, DefaultTimeout)
	if problem := CheckAddress(o.Address); problem != "" {
		return nil, fmt.Errorf("gobgp address %q %s", o.Address, problem)
	}
	if err := o.Check(); err != nil {
		return nil, err
	}
	if o.Capacity == 0 {
		o.Capacity = DefaultFlowSpecCapacity
		if o.Method == RTBH {
			o.Capacity = DefaultRTBHCapacity
		}
	}
	o.Ports = slices.Compact(slices.Sorted(slices.Values(o.Ports)))
	t := &Target{options: o, mode: detect.ModeOff, announced: map[rule]route{}}
	if err := t.dial(); err != nil {
		return nil, err
	}
	return t, nil
}

// OptionError says which option is wrong, and what to write.
type OptionError struct {
	Option  string // by its key in the configuration
	Problem string
}

func (e *OptionError) Error() string { return "gobgp " + e.Option + ": " + e.Problem }

// Check looks at all but the address; the error is an [*OptionError].
func (o *Options) Check() error {
	wrong := func(option, problem string, args ...any) error {
		return &OptionError{Option: option, Problem: fmt.Sprintf(problem, args...)}
	}
	switch {
	case o.Method != FlowSpec && o.Method != RTBH:
		return wrong("method", "%q is neither %s nor %s; write one of them", o.Method, FlowSpec, RTBH)
	case o.Capacity < 0 || o.Capacity > MaxCapacity:
		return wrong("capacity", "%d routes; write 1 to %d, or leave it out", o.Capacity, MaxCapacity)
	case len(o.Ports) > MaxPorts || slices.Contains(o.Ports, 0):
		return wrong("ports", "it has %d ports; write at most %d, of 1 to 65535", len(o.Ports), MaxPorts)
	case o.Method == FlowSpec && (len(o.Destinations) == 0 || len(o.Destinations) > MaxDestinations):
		return wrong("destinations", "it has %d networks; write 1 to %d that are to be protected, such as [198.51.100.0/24]", len(o.Destinations), MaxDestinations)
	case o.Method == FlowSpec && len(o.NextHops) > 0:
		return wrong("next_hops", "method %s has none; leave it out", FlowSpec)
	case o.Method == RTBH && len(o.NextHops) == 0:
		return wrong("next_hops", "it is empty; write what routers discard, such as [192.0.2.1, \"100::1\"]")
	case o.Method == RTBH && len(o.Destinations) > 0:
		return wrong("destinations", "method %s closes all services; leave it out or write method %s", RTBH, FlowSpec)
	case o.Method == RTBH && len(o.Ports) > 0:
		return wrong("ports", "method %s closes all services; leave it out or write method %s", RTBH, FlowSpec)
	}
	for i, p := range o.Destinations {
		if !p.IsValid() || p.Bits() == 0 || p.Addr().Is4In6() || p.Masked() != p || slices.Contains(o.Destinations[:i], p) {
			return wrong("destinations", "%s is no network, all of them, or there twice; write each once, such as 198.51.100.0/24", p)
		}
	}
	for i, a := range o.NextHops {
		if !a.IsValid() || a.Is4In6() || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() || slices.ContainsFunc(o.NextHops[:i], func(b netip.Addr) bool { return a.Is6() == b.Is6() }) {
			return wrong("next_hops", "%s is no address of a host, or the second of its family; write one of each, such as [192.0.2.1, \"100::1\"]", a)
		}
	}
	if o.Timeout < 0 {
		return wrong("timeout", "%s is negative", o.Timeout)
	}
	return nil
}

// Name implements [mitigate.Target].
func (t *Target) Name() string { return t.options.Name }

// Kind implements [mitigate.Target].
func (t *Target) Kind() string { return Kind }

// Addresses implements [mitigate.Target]: the next hops. Those of neighbours are known to
// gobgpd, and looked at before routes are announced.
func (t *Target) Addresses() []netip.Addr { return t.options.NextHops }

// Capacity implements [mitigate.Target]: each verdict takes a route for each destination.
func (t *Target) Capacity() int {
	return max(1, t.options.Capacity/max(1, len(t.destinations(false)), len(t.destinations(true))))
}

func (t *Target) destinations(six bool) (list []netip.Prefix) {
	for _, p := range t.options.Destinations {
		if p.Addr().Is6() == six {
			list = append(list, p)
		}
	}
	return list
}

func (t *Target) nextHop(six bool) netip.Addr {
	for _, a := range t.options.NextHops {
		if a.Is6() == six {
			return a
		}
	}
	return netip.Addr{}
}

// families are those that routes may be of.
func (t *Target) families() (list []family) {
	for _, six := range []bool{false, true} {
		for _, r := range t.rules(netip.PrefixFrom(map[bool]netip.Addr{false: netip.IPv4Unspecified(), true: netip.IPv6Unspecified()}[six], 0)) {
			list = append(list, r.family())
		}
	}
	return slices.Compact(list)
}

// rules are the routes that it takes to block a client; none if it can't be done.
func (t *Target) rules(client netip.Prefix) (list []rule) {
	six := client.Addr().Is6()
	if t.options.Method == RTBH {
		if t.nextHop(six).IsValid() {
			list = append(list, rule{client: client})
		}
		return list
	}
	for _, d := range t.destinations(six) {
		list = append(list, rule{client: client, destination: d, ports: portList(t.options.Ports)})
	}
	return list
}

// Carries implements [mitigate.Target]: blocks of an address or a network.
func (t *Target) Carries(e *mitigate.Entry) error {
	p := e.Subject.Client
	reason := ""
	switch {
	case e.Action == detect.ActionRateLimit:
		reason = "routers limit octets of all packets together, and see no requests"
	case e.Action != detect.ActionBlock:
		reason = fmt.Sprintf("packets show no requests: it has no action %q", e.Action)
	case e.Subject != detect.Subject{Client: p} || !p.IsValid():
		reason = "packets show an address and nothing else of a client"
	case p.Bits() == 0 || p.Addr().Is4In6() || p.Masked() != p:
		reason = fmt.Sprintf("%s is no network of clients", p)
	case e.Expires < 0 || e.Expires > 1<<32-1:
		reason = fmt.Sprintf("the second %d of its end has more than 32 bits", e.Expires)
	case len(t.rules(p)) == 0:
		reason = fmt.Sprintf("of the family of %s there is no destination or next hop", p)
	}
	if reason != "" {
		return &mitigate.UnsupportedError{Target: t.options.Name, Reason: reason}
	}
	return nil
}

// Hits implements [mitigate.Target]: routers don't tell.
func (t *Target) Hits(context.Context) ([]mitigate.Hits, error) { return nil, nil }
