package gobgp

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	api "github.com/osrg/gobgp/v3/api"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"offpath/mitigate"
)

// Methods of having packets dropped.
const (
	FlowSpec = "flowspec"
	RTBH     = "rtbh"
)

// Functions of our large communities: "of" and a number. pathID is the path identifier of
// our routes (RFC 7911), which keeps them apart from others within gobgpd.
const (
	markUpper   = 0x6f660001
	markLower   = 0x6f660002
	markExpires = 0x6f660003
	pathID      = 0x6f66
)

// Well-known communities: BLACKHOLE (RFC 7999), NO_EXPORT (RFC 1997).
const (
	blackhole = 65535<<16 | 666
	noExport  = 65535<<16 | 65281
)

// Components of a FlowSpec rule (RFC 8955 §4.2.2), and the operator "equal" of numbers; of its
// octet the bits of comparison and AND count, not those of length and end of list.
const (
	compDestination = 1
	compSource      = 2
	compProtocol    = 3
	compDstPort     = 5
	opEqual         = 0x01
	opMask          = 0x47
)

// Families of routes.
var (
	unicast4  = family{api.Family_AFI_IP, api.Family_SAFI_UNICAST}
	unicast6  = family{api.Family_AFI_IP6, api.Family_SAFI_UNICAST}
	flowspec4 = family{api.Family_AFI_IP, api.Family_SAFI_FLOW_SPEC_UNICAST}
	flowspec6 = family{api.Family_AFI_IP6, api.Family_SAFI_FLOW_SPEC_UNICAST}
)

type family struct {
	afi  api.Family_Afi
	safi api.Family_Safi
}

func (f family) api() *api.Family { return &api.Family{Afi: f.afi, Safi: f.safi} }

func (f family) String() string {
	name := "ipv4"
	if f.afi == api.Family_AFI_IP6 {
		name = "ipv6"
	}
	if f.safi == api.Family_SAFI_FLOW_SPEC_UNICAST {
		return name + "-flowspec"
	}
	return name + "-unicast"
}

// rule is what a route says: packets of the client, with FlowSpec those to a destination and,
// if there are any, ports, ascending with commas between.
type rule struct {
	client, destination netip.Prefix
	ports               string
}

func (r rule) flowspec() bool { return r.destination.IsValid() }

func (r rule) family() family {
	switch six := r.client.Addr().Is6(); {
	case r.flowspec() && six:
		return flowspec6
	case r.flowspec():
		return flowspec4
	case six:
		return unicast6
	default:
		return unicast4
	}
}

// verdict is whose a route is.
type verdict struct {
	id      mitigate.ID
	expires int64 // second
}

// route is one of ours.
type route struct {
	// rule has no client, and the octets as ports, if it is not as we write it.
	rule rule
	verdict
	path *api.Path
}

// pack wraps a message; those of the API can't fail.
func pack(m proto.Message) *anypb.Any {
	a, err := anypb.New(m)
	if err != nil {
		panic(err)
	}
	return a
}

// nlri is what the route is to (RFC 4760), or the FlowSpec rule.
func (r rule) nlri() *anypb.Any {
	if !r.flowspec() {
		return pack(&api.IPAddressPrefix{Prefix: r.client.Addr().String(), PrefixLen: uint32(r.client.Bits())})
	}
	prefix := func(kind uint32, p netip.Prefix) *anypb.Any {
		return pack(&api.FlowSpecIPPrefix{Type: kind, Prefix: p.Addr().String(), PrefixLen: uint32(p.Bits())})
	}
	rules := []*anypb.Any{prefix(compDestination, r.destination), prefix(compSource, r.client)}
	if r.ports != "" {
		protocols := &api.FlowSpecComponent{Type: compProtocol, Items: []*api.FlowSpecComponentItem{{Op: opEqual, Value: 6}, {Op: opEqual, Value: 17}}}
		ports := &api.FlowSpecComponent{Type: compDstPort}
		for p := range strings.SplitSeq(r.ports, ",") {
			n, _ := strconv.ParseUint(p, 10, 16)
			ports.Items = append(ports.Items, &api.FlowSpecComponentItem{Op: opEqual, Value: n})
		}
		rules = append(rules, pack(protocols), pack(ports))
	}
	return pack(&api.FlowSpecNLRI{Rules: rules})
}

// newRoute makes the route for a verdict; of FlowSpec nextHop is not valid.
func newRoute(asn uint32, r rule, nextHop netip.Addr, v verdict) route {
	upper, lower := v.id.Halves()
	f, nlri := r.family(), r.nlri()
	attributes := []*anypb.Any{
		pack(&api.OriginAttribute{}), // IGP
		pack(&api.LargeCommunitiesAttribute{Communities: []*api.LargeCommunity{
			{GlobalAdmin: asn, LocalData1: markUpper, LocalData2: upper},
			{GlobalAdmin: asn, LocalData1: markLower, LocalData2: lower},
			{GlobalAdmin: asn, LocalData1: markExpires, LocalData2: uint32(v.expires)},
		}}),
	}
	hop := nextHop.String()
	communities := []uint32{noExport}
	if r.flowspec() {
		hop = netip.IPv4Unspecified().String()
		if r.client.Addr().Is6() {
			hop = netip.IPv6Unspecified().String()
		}
		attributes = append(attributes, pack(&api.ExtendedCommunitiesAttribute{Communities: []*anypb.Any{pack(&api.TrafficRateExtended{})}}))
	} else {
		communities = []uint32{blackhole, noExport}
	}
	attributes = append(attributes, pack(&api.CommunitiesAttribute{Communities: communities}))
	if f == unicast4 {
		attributes = append(attributes, pack(&api.NextHopAttribute{NextHop: hop}))
	} else {
		attributes = append(attributes, pack(&api.MpReachNLRIAttribute{Family: f.api(), NextHops: []string{hop}, Nlris: []*anypb.Any{nlri}}))
	}
	return route{rule: r, verdict: v,
		path: &api.Path{Nlri: nlri, Pattrs: attributes, Family: f.api(), Identifier: pathID}}
}

// parseRoute reads a route of gobgpd; it is ours if it is local and bears all our marks.
func parseRoute(asn uint32, p *api.Path) (r route, ours bool) {
	if p.GetIdentifier() != pathID || !local(p) {
		return r, false
	}
	var upper, lower, expires uint32
	seen := 0
	for _, a := range p.GetPattrs() {
		var list api.LargeCommunitiesAttribute
		if a.UnmarshalTo(&list) != nil {
			continue
		}
		for _, c := range list.Communities {
			if c.GetGlobalAdmin() != asn {
				continue
			}
			switch c.GetLocalData1() {
			case markUpper:
				upper, seen = c.LocalData2, seen|1
			case markLower:
				lower, seen = c.LocalData2, seen|2
			case markExpires:
				expires, seen = c.LocalData2, seen|4
			}
		}
	}
	if seen != 7 {
		return r, false
	}
	r = route{verdict: verdict{mitigate.ID(uint64(upper)<<32 | uint64(lower)), int64(expires)}, path: p}
	if said, ok := parseRule(p.GetNlri()); ok {
		r.rule = said
	} else {
		r.rule.ports = hex.EncodeToString(p.GetNlri().GetValue())
	}
	return r, true
}

// local says whether a route was not learned from a neighbour.
func local(p *api.Path) bool {
	_, err := netip.ParseAddr(p.GetNeighborIp())
	return err != nil || netip.MustParseAddr(p.GetNeighborIp()).IsUnspecified()
}

// parseRule reads what [rule.nlri] writes, and nothing else.
func parseRule(a *anypb.Any) (r rule, ok bool) {
	var prefix api.IPAddressPrefix
	if a.UnmarshalTo(&prefix) == nil {
		r.client, ok = parsePrefix(prefix.Prefix, prefix.PrefixLen)
		return r, ok
	}
	var flow api.FlowSpecNLRI
	if a.UnmarshalTo(&flow) != nil || len(flow.Rules) != 2 && len(flow.Rules) != 4 {
		return r, false
	}
	for i, into := range []*netip.Prefix{&r.destination, &r.client} {
		var p api.FlowSpecIPPrefix
		if flow.Rules[i].UnmarshalTo(&p) != nil || p.Type != uint32(compDestination+i) || p.Offset != 0 {
			return r, false
		}
		if *into, ok = parsePrefix(p.Prefix, p.PrefixLen); !ok {
			return r, false
		}
	}
	if r.client.Addr().Is6() != r.destination.Addr().Is6() {
		return r, false
	}
	if len(flow.Rules) == 2 {
		return r, true
	}
	protocols, ok1 := parseNumbers(flow.Rules[2], compProtocol)
	ports, ok2 := parseNumbers(flow.Rules[3], compDstPort)
	r.ports = portList(ports)
	return r, ok1 && ok2 && slices.Equal(protocols, []uint16{6, 17})
}

func parsePrefix(address string, bits uint32) (p netip.Prefix, ok bool) {
	// A FlowSpec prefix is said with its length, too.
	address, _, _ = strings.Cut(address, "/")
	a, err := netip.ParseAddr(address)
	if err != nil || a.Zone() != "" || a.Is4In6() || bits > 128 {
		return p, false
	}
	p = netip.PrefixFrom(a, int(bits))
	return p, p.IsValid() && p.Masked() == p
}

// parseNumbers reads a component that is a list of numbers, ascending.
func parseNumbers(a *anypb.Any, kind uint32) (list []uint16, ok bool) {
	var c api.FlowSpecComponent
	if a.UnmarshalTo(&c) != nil || c.Type != kind || len(c.Items) == 0 || len(c.Items) > MaxPorts {
		return nil, false
	}
	for _, i := range c.Items {
		if i.GetOp()&opMask != opEqual || i.GetValue() == 0 || i.GetValue() > 65535 || len(list) > 0 && uint64(list[len(list)-1]) >= i.GetValue() {
			return nil, false
		}
		list = append(list, uint16(i.Value))
	}
	return list, true
}

func portList(ports []uint16) string {
	var words []string
	for _, p := range ports {
		words = append(words, strconv.Itoa(int(p)))
	}
	return strings.Join(words, ",")
}
