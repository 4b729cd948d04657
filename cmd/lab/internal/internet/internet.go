// Package internet builds a small Internet of network namespaces:
//
//	customers ─┐
//	           ├─ switch ═ front ═ balancer ═ back ═ switch ── bank
//	attackers ─┘     └──────────── span ─────────────┘
//	                                │
//	                               tap
//
// The switch joins each segment by a bridge and mirrors the load balancer's
// port on it, both directions, towards the tap: what a SPAN port does. Thousands of
// addresses cost nothing: a namespace takes whole prefixes as its own (routes
// of type local) and is their router for the others.
//
// Segmentation and checksum offloads are off on every link, so that the mirror
// carries frames as a wire does and not 64 KiB super-packets.
package internet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"

	"offpath/cmd/lab/internal/netns"
)

// Placement is where the mirror listens.
type Placement string

// The placements.
const (
	Front Placement = "front" // between the Internet and the load balancer
	Back  Placement = "back"  // between the load balancer and the bank
	Both  Placement = "both"  // both legs on one mirror
)

// Config says what to build.
type Config struct {
	Namespace func(part string) string // names a namespace
	Tap       Placement
}

func (c Config) validate() error {
	switch c.Tap {
	case Front, Back, Both:
		return nil
	}
	return fmt.Errorf("tap %q is none of front, back, both", c.Tap)
}

// Internet is the built thing. Its namespaces are deleted by whoever named
// them; Close ends only the threads inside.
type Internet struct {
	Customers, Attackers, Tap *netns.Space

	config Config
}

// Name returns the name of the namespace of a part: customers, attackers,
// balancer, bank, switch or tap.
func (i *Internet) Name(part string) string { return i.config.Namespace(part) }

// links are the veth pairs: a port on the switch and what is plugged into it.
var links = []struct{ port, part, device string }{
	{"customers", "customers", "eth0"},
	{"attackers", "attackers", "eth0"},
	{"front", "balancer", "front"},
	{"back", "balancer", "back"},
	{"bank", "bank", "eth0"},
	{"span", "tap", TapInterface},
}

var parts = []string{"switch", "customers", "attackers", "balancer", "bank", "tap"}

// threads of customers and attackers: so many connections open at a time.
const threads = 8

// Build builds the Internet.
func Build(c Config) (*Internet, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	i := &Internet{config: c}
	if err := i.build(); err != nil {
		i.Close()
		return nil, fmt.Errorf("build the internet: %w", err)
	}
	return i, nil
}

func (i *Internet) build() error {
	for _, part := range parts {
		if err := run(nil, "ip", "netns", "add", i.Name(part)); err != nil {
			return err
		}
	}
	if err := i.sysctls(); err != nil {
		return err
	}
	for _, l := range links {
		err := run(nil, "ip", "-n", i.Name("switch"), "link", "add", l.port, "type", "veth",
			"peer", "name", l.device, "netns", i.Name(l.part))
		if err != nil {
			return err
		}
		for _, end := range [][2]string{{"switch", l.port}, {l.part, l.device}} {
			err := run(nil, "ip", "netns", "exec", i.Name(end[0]), "ethtool", "-K", end[1],
				"tso", "off", "gso", "off", "gro", "off", "tx", "off", "sg", "off")
			if err != nil {
				return err
			}
		}
	}
	for part, lines := range i.addresses() {
		if err := i.ip(part, lines); err != nil {
			return err
		}
	}
	if err := i.mirror(); err != nil {
		return err
	}
	for _, open := range []struct {
		part  string
		space **netns.Space
	}{{"customers", &i.Customers}, {"attackers", &i.Attackers}, {"tap", &i.Tap}} {
		space, err := netns.Open(i.Name(open.part), threads)
		if err != nil {
			return err
		}
		*open.space = space
	}
	return nil
}

// sysctls settles what has to be so before any link is up.
func (i *Internet) sysctls() error {
	for _, part := range parts {
		space, err := netns.Open(i.Name(part), 1)
		if err != nil {
			return err
		}
		settings := [][2]string{
			{"ipv6/conf/all/accept_dad", "0"},
			{"ipv6/conf/default/accept_dad", "0"},
			{"ipv6/conf/default/accept_ra", "0"},
			// IPv6 lets a socket bind to an address of a local route only so.
			{"ipv6/ip_nonlocal_bind", "1"},
		}
		if part == "switch" || part == "tap" {
			// Neither speaks: no frame but the mirrored ones on the span.
			settings = append(settings, [2]string{"ipv6/conf/default/disable_ipv6", "1"})
		}
		for _, s := range settings {
			if err == nil {
				err = space.Sysctl(s[0], s[1])
			}
		}
		space.Close()
		if err != nil {
			return fmt.Errorf("sysctl in %s: %w", part, err)
		}
	}
	return nil
}

// addresses are the ip-batch(8) lines of each namespace.
func (i *Internet) addresses() map[string][]string {
	local := func(prefixes ...netip.Prefix) (lines []string) {
		for _, p := range prefixes {
			lines = append(lines, fmt.Sprintf("route add local %v dev lo", p))
		}
		return lines
	}
	via := func(gateway4, gateway6 string, prefixes ...netip.Prefix) (lines []string) {
		for _, p := range prefixes {
			gateway := gateway4
			if p.Addr().Is6() {
				gateway = gateway6
			}
			lines = append(lines, fmt.Sprintf("route add %v via %s", p, gateway))
		}
		return lines
	}
	outside := func(device, last string) []string {
		return []string{
			"link set lo up", "link set " + device + " up",
			"address add 100.64.0." + last + "/24 dev " + device,
			"address add 2001:db8:f::" + last + "/64 dev " + device + " nodad",
		}
	}
	customers := []netip.Prefix{Homes, Carriers, Homes6}
	service := []netip.Prefix{netip.PrefixFrom(Service, 32), netip.PrefixFrom(Service6, 128)}

	switchLines := []string{"link set lo up",
		"link add segment-front type bridge mcast_snooping 0", "link add segment-back type bridge mcast_snooping 0",
		"link set segment-front up", "link set segment-back up"}
	for _, l := range links {
		switch l.port {
		case "back", "bank":
			switchLines = append(switchLines, "link set "+l.port+" master segment-back")
		case "span":
		default:
			switchLines = append(switchLines, "link set "+l.port+" master segment-front")
		}
		switchLines = append(switchLines, "link set "+l.port+" up")
	}
	return map[string][]string{
		"switch": switchLines,
		"customers": concat(outside("eth0", "2"), local(customers...),
			via("100.64.0.1", "2001:db8:f::1", service...)),
		"attackers": concat(outside("eth0", "3"), local(attackers()...),
			via("100.64.0.1", "2001:db8:f::1", service[1]),
			// Hydra cannot choose its address: it is what the route prefers.
			[]string{fmt.Sprintf("route add %v via 100.64.0.1 src %v", service[0], Hydra)}),
		"balancer": concat(outside("front", "1"),
			[]string{fmt.Sprintf("address add %v dev lo", service[0]), fmt.Sprintf("address add %v dev lo nodad", service[1])},
			[]string{"link set back up", fmt.Sprintf("address add %v/24 dev back", BalancerInside)},
			via("100.64.0.2", "2001:db8:f::2", customers...), via("100.64.0.3", "2001:db8:f::3", attackers()...)),
		"bank": {"link set lo up", "link set eth0 up", fmt.Sprintf("address add %v/24 dev eth0", Bank)},
		"tap":  {"link set lo up", "link set " + TapInterface + " arp off up"},
	}
}

// mirror copies the load balancer's ports to the span.
func (i *Internet) mirror() error {
	var ports []string
	if i.config.Tap != Back {
		ports = append(ports, "front")
	}
	if i.config.Tap != Front {
		ports = append(ports, "back")
	}
	var lines []string
	for _, port := range ports {
		lines = append(lines, "qdisc add dev "+port+" clsact")
		for _, direction := range []string{"ingress", "egress"} {
			lines = append(lines, fmt.Sprintf(
				"filter add dev %s %s protocol all prio 1 u32 match u32 0 0 action mirred egress mirror dev span", port, direction))
		}
	}
	return run(lines, "tc", "-n", i.Name("switch"), "-batch", "-")
}

// Mirrored returns how many frames the switch has sent to the tap, and how many of them it
// lost on the way: also one at the beginning, if the span's queue was not there yet.
func (i *Internet) Mirrored() (sent, lost uint64, err error) {
	out, err := exec.Command("ip", "-n", i.Name("switch"), "-s", "-j", "link", "show", "dev", "span").Output()
	if err != nil {
		return 0, 0, fmt.Errorf("read counters of the span: %w", err)
	}
	var stats []struct {
		Stats struct {
			TX struct{ Packets, Dropped, Errors uint64 }
		} `json:"stats64"`
	}
	if err := json.Unmarshal(out, &stats); err != nil || len(stats) != 1 {
		return 0, 0, fmt.Errorf("read counters of the span: %q: %w", out, err)
	}
	tx := stats[0].Stats.TX
	return tx.Packets, tx.Dropped + tx.Errors, nil
}

// Close ends the threads inside the namespaces.
func (i *Internet) Close() {
	for _, s := range []*netns.Space{i.Customers, i.Attackers, i.Tap} {
		if s != nil {
			s.Close()
		}
	}
}

func (i *Internet) ip(part string, lines []string) error {
	return run(lines, "ip", "-n", i.Name(part), "-batch", "-")
}

// run runs a program with lines on its standard input.
func run(lines []string, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

func concat(lists ...[]string) (all []string) {
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}
