package envoy

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	xds "github.com/cncf/xds/go/xds/core/v3"
	matcher "github.com/cncf/xds/go/xds/type/matcher/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/anypb"

	rbacpolicy "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	rbac "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	network "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/common_inputs/network/v3"
)

// metadataPrefix is what the filter writes in front of the names of its metadata.
const metadataPrefix = "offpath_"

// networkRow is a network and its row.
type networkRow struct {
	network netip.Prefix
	row     string
}

// buildList makes the filter that tells who a request is from: a trie of networks, whose
// "policy" is the rows of the network and of those that it lies in, most specific first. It
// only looks (shadow_matcher), the script acts. The rows are put in order.
func buildList(rows []networkRow) (*rbac.RBAC, error) {
	// A network before those within it.
	slices.SortFunc(rows, func(a, b networkRow) int {
		return cmp.Or(a.network.Addr().Compare(b.network.Addr()), cmp.Compare(a.network.Bits(), b.network.Bits()), strings.Compare(a.row, b.row))
	})
	config := &rbac.RBAC{
		ShadowRulesStatPrefix: metadataPrefix,
		ShadowMatcher:         &matcher.Matcher{OnNoMatch: &matcher.Matcher_OnMatch{}},
	}
	noMatch, err := action(nobody)
	if err != nil {
		return nil, err
	}
	config.ShadowMatcher.OnNoMatch.OnMatch = noMatch
	if len(rows) == 0 {
		return config, nil
	}
	input, err := anypb.New(&network.SourceIPInput{})
	if err != nil {
		return nil, err
	}
	trie := &anypb.Any{TypeUrl: "type.googleapis.com/" + string((&matcher.IPMatcher{}).ProtoReflect().Descriptor().FullName())}
	trie.Value = appendRanges(nil, rows)
	config.ShadowMatcher.MatcherType = &matcher.Matcher_MatcherTree_{MatcherTree: &matcher.Matcher_MatcherTree{
		Input:    &xds.TypedExtensionConfig{Name: "client", TypedConfig: input},
		TreeType: &matcher.Matcher_MatcherTree_CustomMatch{CustomMatch: &xds.TypedExtensionConfig{Name: "networks", TypedConfig: trie}},
	}}
	return config, nil
}

func action(name string) (*matcher.Matcher_OnMatch_Action, error) {
	config, err := anypb.New(&rbacpolicy.Action{Name: name})
	if err != nil {
		return nil, err
	}
	return &matcher.Matcher_OnMatch_Action{Action: &xds.TypedExtensionConfig{Name: "rows", TypedConfig: config}}, nil
}

// appendRanges appends an IPMatcher in protobuf's encoding, by hand: it is all of the list
// that is long, and made anew at each change.
func appendRanges(b []byte, rows []networkRow) []byte {
	const actionType = "type.googleapis.com/envoy.config.rbac.v3.Action"
	var within []networkRow // the networks that the next may lie in
	var text, inner, outer []byte
	wrap := func(field protowire.Number) { // inner becomes a field of what it lies in
		outer = protowire.AppendTag(outer[:0], field, protowire.BytesType)
		outer = protowire.AppendBytes(outer, inner)
		inner, outer = outer, inner
	}
	for i := 0; i < len(rows); {
		at := rows[i].network
		for len(within) > 0 && !within[len(within)-1].network.Overlaps(at) {
			within = within[:len(within)-1]
		}
		for ; i < len(rows) && rows[i].network == at; i++ {
			within = append(within, rows[i])
		}
		text = text[:0]
		for k := len(within) - 1; k >= 0; k-- {
			if len(text) > 0 {
				text = append(text, ',')
			}
			text = append(text, within[k].row...)
		}

		inner = protowire.AppendTag(inner[:0], 1, protowire.BytesType) // Action.name
		inner = protowire.AppendBytes(inner, text)
		wrap(2)                                                        // Any.value
		outer = protowire.AppendTag(outer[:0], 1, protowire.BytesType) // Any.type_url
		outer = protowire.AppendString(outer, actionType)
		inner, outer = append(outer, inner...), inner
		wrap(2)                                                        // TypedExtensionConfig.typed_config
		outer = protowire.AppendTag(outer[:0], 1, protowire.BytesType) // TypedExtensionConfig.name
		outer = protowire.AppendString(outer, "rows")
		inner, outer = append(outer, inner...), inner
		wrap(2) // OnMatch.action
		wrap(2) // IPRangeMatcher.on_match
		ranges := appendRange(outer[:0], at)
		if at.Addr().Is4() { // as a proxy may name it
			ranges = appendRange(ranges, netip.PrefixFrom(netip.AddrFrom16(at.Addr().As16()), at.Bits()+96))
		}
		inner, outer = append(ranges, inner...), inner
		wrap(1) // IPMatcher.range_matchers
		b = append(b, inner...)
	}
	return b
}

// appendRange appends IPRangeMatcher.ranges.
func appendRange(b []byte, p netip.Prefix) []byte {
	var buffer, text [64]byte
	address := p.Addr().AppendTo(text[:0])
	cidr := protowire.AppendTag(buffer[:0], 1, protowire.BytesType) // CidrRange.address_prefix
	cidr = protowire.AppendBytes(cidr, address)
	cidr = protowire.AppendTag(cidr, 2, protowire.BytesType) // CidrRange.prefix_len
	cidr = protowire.AppendBytes(cidr, protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(p.Bits())))
	b = protowire.AppendTag(b, 1, protowire.BytesType)
	return protowire.AppendBytes(b, cidr)
}
