package haproxy

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"

	"offpath/detect"
	"offpath/mitigate"
)

func TestRatesComeToTheLongestTierWithinTheirPeriod(t *testing.T) {
	const second = int64(1e9)
	tests := []struct {
		rate  detect.Rate
		code  uint32
		limit uint32
	}{
		{detect.Rate{Requests: 10, Per: second}, codeRate1s, 10},
		{detect.Rate{Requests: 10, Per: 10 * second}, codeRate10s, 10},
		{detect.Rate{Requests: 10, Per: 60 * second}, codeRate60s, 10},
		{detect.Rate{Requests: 10, Per: 5 * second}, codeRate1s, 2},
		{detect.Rate{Requests: 10, Per: 59 * second}, codeRate10s, 1},
		{detect.Rate{Requests: 100, Per: 30 * second}, codeRate10s, 33},
		{detect.Rate{Requests: 600, Per: 3600 * second}, codeRate60s, 10},
		{detect.Rate{Requests: 1, Per: 3600 * second}, codeRate60s, 1},
	}
	for _, tt := range tests {
		code, limit, reason := encodeRate(tt.rate)
		assert.Empty(t, reason)
		assert.Equal(t, [2]uint32{tt.code, tt.limit}, [2]uint32{code, limit}, "%+v", tt.rate)
	}
}

func TestRecordsSurviveTheTripThroughRowAndMap(t *testing.T) {
	r := record{code: codeBlock + monitorOffset, expires: never - 1, limit: 7, id: mitigate.ID(0xfffffffe00000001)}
	upper, lower := r.id.Halves()
	row := tableRow{data: map[string]uint64{
		"gpt0": uint64(r.code), "gpc0": uint64(r.expires), "gpc1": uint64(r.limit),
		"conn_cnt": uint64(upper), "sess_cnt": uint64(lower),
	}}
	assert.Equal(t, r, recordOfRow(row))
	back, ok := parseMapValue(r.mapValue())
	assert.True(t, ok)
	assert.Equal(t, r, back)
	for _, bad := range []string{"", "1", "1:2:3", "1:2:3:4", "1:2:3:0000000000000001", "1:2:-3:fffffffe00000001", "4294967296:2:3:fffffffe00000001", "1:2:3:fffffffe00000001:5"} {
		_, ok := parseMapValue(bad)
		assert.False(t, ok, bad)
	}
}

func TestALineOfANetworkSaysWhichOfItsRecordsIsItsOwn(t *testing.T) {
	wider := record{code: codeBlock, expires: 2, id: 1<<32 | 1}
	block := record{code: codeRate60s, expires: 1, limit: 3, id: 1<<32 | 2}
	watch := record{code: codeBlock + monitorOffset, expires: 9, id: 1<<32 | 3}
	for value, own := range map[string]record{
		block.mapValue(): block,
		watch.mapValue(): watch,
		wider.mapValue() + ":" + watch.mapValue(): watch,
		block.mapValue() + ":" + wider.mapValue(): block,
	} {
		r, ok := parseLine(value)
		assert.True(t, ok, value)
		assert.Equal(t, own, r, value)
	}
	for _, bad := range []string{"", "1:2:3", block.mapValue() + ":", block.mapValue() + ":5", "5:" + block.mapValue(), block.mapValue() + ":" + wider.mapValue() + ":" + wider.mapValue()} {
		_, ok := parseLine(bad)
		assert.False(t, ok, bad)
	}
}

func TestSubjectsHaveOnePlace(t *testing.T) {
	place := func(text string) place {
		p, reason := locate(detect.Subject{Client: netip.MustParsePrefix(text)})
		assert.Empty(t, reason)
		return p
	}
	assert.Equal(t, "ip:192.0.2.1", place("192.0.2.1/32").key)
	assert.Equal(t, "ip:2001:db8::1", place("2001:db8::1/128").key)
	assert.Equal(t, "ip:::1.2.3.4", place("::102:304/128").key)
	assert.Equal(t, "ip:::1", place("::1/128").key)
	assert.Equal(t, netip.MustParsePrefix("2001:db8::/64"), place("2001:db8::1/64").network)
	assert.Empty(t, place("2001:db8::1/64").key)
	for _, odd := range []string{"::ffff:192.0.2.1/128"} {
		_, reason := locate(detect.Subject{Client: netip.MustParsePrefix(odd)})
		assert.NotEmpty(t, reason)
	}
}

func TestANarrowNetworkHidesAWiderOneOnlyWhileItIsEnforced(t *testing.T) {
	block := func(id mitigate.ID) record { return record{code: codeBlock, expires: 9, id: 1<<32 | id} }
	short := func(id mitigate.ID) record { return record{code: codeBlock, expires: 8, id: 1<<32 | id} }
	watch := func(id mitigate.ID) record {
		return record{code: codeBlock + monitorOffset, expires: 9, id: 1<<32 | id}
	}
	tag := func(id mitigate.ID) record { return record{code: codeTag, expires: 9, id: 1<<32 | id} }
	p := netip.MustParsePrefix
	assert.Equal(t, []string{
		"10.0.0.0/8 1:9:0:0000000100000001",
		"10.1.0.0/16 1:9:0:0000000100000001:1001:9:0:0000000100000002",
		"10.1.2.0/24 1:9:0:0000000100000003",
		"10.1.2.128/25 1:9:0:0000000100000003:5:9:0:0000000100000004",
		"10.1.3.0/24 1:8:0:0000000100000009:1:9:0:0000000100000001",
		"11.0.0.0/8 5:9:0:0000000100000005",
		"11.1.0.0/16 1001:9:0:0000000100000006",
		"2001:db8:1::/48 1:9:0:0000000100000007:1001:9:0:0000000100000008",
		"2001:db8::/32 1:9:0:0000000100000007",
	}, networkLines(map[netip.Prefix]record{
		p("10.0.0.0/8"): block(1), p("10.1.0.0/16"): watch(2), p("10.1.2.0/24"): block(3), p("10.1.2.128/25"): tag(4), p("10.1.3.0/24"): short(9),
		p("11.0.0.0/8"): tag(5), p("11.1.0.0/16"): watch(6), p("2001:db8::/32"): block(7), p("2001:db8:1::/48"): watch(8),
	}))
}
