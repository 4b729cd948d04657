package envoy

import (
	"fmt"
	"net/netip"
	"testing"

	matcher "github.com/cncf/xds/go/xds/type/matcher/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacpolicy "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	data "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"offpath/mitigate"
)

// listed reads a list as Envoy does: rows by range.
func listed(t *testing.T, rows []networkRow) map[string]string {
	t.Helper()
	filter, err := buildList(rows)
	require.NoError(t, err)
	text, err := proto.Marshal(filter)
	require.NoError(t, err)
	require.NoError(t, proto.Unmarshal(text, filter))
	require.NoError(t, filter.ShadowMatcher.ValidateAll())
	var ips matcher.IPMatcher
	require.NoError(t, filter.ShadowMatcher.GetMatcherTree().GetCustomMatch().GetTypedConfig().UnmarshalTo(&ips))
	require.NoError(t, ips.ValidateAll())
	by := map[string]string{}
	for _, m := range ips.RangeMatchers {
		var action rbacpolicy.Action
		require.NoError(t, m.OnMatch.GetAction().GetTypedConfig().UnmarshalTo(&action))
		assert.Equal(t, "rows", m.OnMatch.GetAction().GetName())
		for _, r := range m.Ranges {
			text := fmt.Sprintf("%s/%d", r.AddressPrefix, r.PrefixLen.GetValue())
			assert.NotContains(t, by, text, "twice")
			by[text] = action.Name
		}
	}
	return by
}

func TestAListSaysOfEachNetworkWhatItLiesIn(t *testing.T) {
	row := func(network, text string) networkRow { return networkRow{netip.MustParsePrefix(network), text} }
	assert.Equal(t, map[string]string{
		"192.0.0.0/8": "wide", "::ffff:192.0.0.0/104": "wide",
		"192.0.2.0/24": "near,wide", "::ffff:192.0.2.0/120": "near,wide",
		"192.0.2.1/32": "one,near,wide", "::ffff:192.0.2.1/128": "one,near,wide",
		"192.0.3.1/32": "two,-,wide", "::ffff:192.0.3.1/128": "two,-,wide",
		"198.51.100.1/32": "far", "::ffff:198.51.100.1/128": "far",
		"::/0": "six", "2001:db8::/32": "eight,six", "2001:db8::1/128": "nine,eight,six",
	}, listed(t, []networkRow{
		row("2001:db8::1/128", "nine"), row("198.51.100.1/32", "far"), row("192.0.3.1/32", "two"), row("192.0.2.1/32", "one"), row("::/0", "six"),
		row("192.0.3.1/32", "-"), row("192.0.2.0/24", "near"), row("192.0.0.0/8", "wide"), row("2001:db8::/32", "eight"),
	}))
	filter, err := buildList(nil)
	require.NoError(t, err)
	require.NoError(t, filter.ValidateAll())
}

// What an Envoy sends is read without a panic, and counted once.
func FuzzRequest(f *testing.F) {
	add := func(requests ...*discovery.DiscoveryRequest) {
		var all []byte
		for _, r := range requests {
			text, err := proto.Marshal(r)
			require.NoError(f, err)
			all = append(append(all, byte(len(text))), text...)
		}
		f.Add(all)
	}
	add(&discovery.DiscoveryRequest{ResourceNames: names[:]}, &discovery.DiscoveryRequest{ResourceNames: names[:1], ResponseNonce: "1"})
	add(&discovery.DiscoveryRequest{ResourceNames: []string{"offpath_rates", "offpath_rates", ""}}, &discovery.DiscoveryRequest{ResponseNonce: "1", VersionInfo: "x"})
	add(&discovery.DiscoveryRequest{TypeUrl: "other"})
	f.Fuzz(func(t *testing.T, all []byte) {
		fleet := newFleet("life")
		c := fleet.join(netip.Addr{})
		for k := range kinds {
			body, err := wrapped(k, buildRates(nil))
			require.NoError(t, err)
			fleet.publish(k, body)
		}
		s := session{fleet: fleet, connection: c}
		for len(all) > 0 {
			n := min(int(all[0]), len(all)-1)
			var r discovery.DiscoveryRequest
			if proto.Unmarshal(all[1:1+n], &r) != nil || s.take(&r) != nil {
				break
			}
			all = all[1+n:]
			if s.nonce == "" {
				response, wait := s.next()
				require.NotEqual(t, response == nil, wait == nil)
			}
			for k := range kinds {
				require.LessOrEqual(t, c.took[k], fleet.latest(k))
				require.LessOrEqual(t, c.took[k], s.sent[k])
				require.Contains(t, []int{0, 1}, c.asks[k])
			}
		}
		s.close()
		require.Equal(t, [kinds]int{}, c.asks)
	})
}

// A line of an access log is one hit of one verdict, or none.
func FuzzHit(f *testing.F) {
	f.Add([]byte(nil))
	ours, err := structpb.NewStruct(map[string]any{"id": "0000abcd00000001", "firm": true})
	require.NoError(f, err)
	line := &data.HTTPAccessLogEntry{CommonProperties: &data.AccessLogCommon{Metadata: &core.Metadata{FilterMetadata: map[string]*structpb.Struct{"offpath": ours}}}}
	id, passed, ok := hitOf(line)
	require.True(f, ok && !passed && id == 0xabcd_0000_0001)
	text, err := proto.Marshal(line)
	require.NoError(f, err)
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		var entry data.HTTPAccessLogEntry
		if proto.Unmarshal(text, &entry) != nil {
			return
		}
		id, _, ok := hitOf(&entry)
		if ok {
			_, err := mitigate.ParseID(id.String())
			require.NoError(t, err)
		}
	})
}

func TestHitsAreBounded(t *testing.T) {
	var h hits
	for i := range maxHits + 5 {
		h.add(mitigate.ID(1<<32+i+1), i%2 == 0)
	}
	h.add(1<<32+1, false)
	list := h.list()
	assert.Len(t, list, maxHits)
	assert.Equal(t, mitigate.Hits{ID: 1<<32 + 1, Refused: 1, Passed: 1}, list[0])
	h.keep(map[mitigate.ID]bool{1<<32 + 2: true, 7: true})
	assert.Equal(t, []mitigate.Hits{{ID: 1<<32 + 2, Refused: 1}}, h.list())
}
